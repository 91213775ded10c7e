"""What every back end must survive, as tests of processes."""

import pathlib
import subprocess
import sys
import time

from absl.testing import parameterized
import numpy as np

from limaml_jax.store import lookup
from limaml_jax.store import snapshot
from tests.store import stamped

_REPOSITORY = pathlib.Path(__file__).parents[2]
_NUM_VERSIONS = 12
PATIENCE_SECONDS = 30  # Before a test calls a hung process a failure.


class CrashConformance(parameterized.TestCase):
  """Needs `self.store`, and `self.where`, its address for processes."""

  def start(self, verb):
    process = subprocess.Popen(
        [sys.executable, '-m', 'tests.store.stamped', self.where, verb],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_REPOSITORY,
    )
    self.addCleanup(kill, process)
    return process

  def assert_stamped(self, answer):
    self.assertEqual(answer.vectors.shape, (500, stamped.DIMENSION))
    np.testing.assert_array_equal(answer.vectors, int(answer.version))
    np.testing.assert_array_equal(answer.statuses, lookup.Status.PRESENT)

  def test_reader_sees_one_version_at_a_time(self):
    writer = self.start('publish')
    writer.stdout.readline()
    seen = []
    give_up = time.monotonic() + PATIENCE_SECONDS
    with lookup.Reader(self.store, 'user') as reader:
      while len(set(seen)) < _NUM_VERSIONS:
        answer = reader.lookup(stamped.KEYS)
        self.assert_stamped(answer)
        seen.append(int(answer.version))
        self.assertLess(time.monotonic(), give_up)
    self.assertEqual(seen, sorted(seen))

  # Fractions of the time between two publications; several seconds' worth of
  # moments would find no more.
  @parameterized.parameters(0.1, 0.3, 0.5, 0.7, 0.9)
  def test_writer_killed_at_some_moment(self, fraction):
    writer = self.start('publish')
    writer.stdout.readline()
    start = time.monotonic()
    acknowledged = writer.stdout.readline().strip()
    period = time.monotonic() - start
    try:
      writer.wait(timeout=fraction * period)
    except subprocess.TimeoutExpired:
      pass
    rest = kill(writer).split()
    acknowledged = ([acknowledged] + rest)[-1]
    self.assert_recovers(at_least=int(acknowledged))

  def start_from(self, version):
    snapshot.publish(self.store, 'user', version)

  def assert_recovers(self, *, at_least):
    with lookup.Reader(self.store, 'user') as reader:
      answer = reader.lookup(stamped.KEYS)
      self.assert_stamped(answer)
      self.assertGreaterEqual(int(answer.version), at_least)
      for version in self.store.versions('user'):
        snapshot.verify(self.store, 'user', version)
      version = stamped.write(self.store).version
      self.assertGreater(version, answer.version)
      snapshot.publish(self.store, 'user', version)
      self.assertEqual(reader.lookup(stamped.KEYS).version, version)


def kill(process):
  """Kills a process outright and returns what it had left to say."""
  process.kill()
  return process.communicate(timeout=PATIENCE_SECONDS)[0]
