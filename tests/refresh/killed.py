"""The daily job killed at random moments, with readers at work, as tests.

A back end has a class that says where its store is. LIMAML_KILLS=200 kills the
job more often than the suite has time for.
"""

import collections
import json
import os
import pathlib
import random
import subprocess
import sys
import threading

from absl import logging
from absl.testing import absltest

from limaml_jax.store import address
from limaml_jax.store import contents
from limaml_jax.store import snapshot
from tests.refresh import small_refresh

_NUM_KILLS = int(os.environ.get('LIMAML_KILLS', '1'))
_NUM_READERS = 2
_LONGEST_SECONDS = 1.5  # From the first day to a kill.
_PATIENCE_SECONDS = 120
_ROOT = pathlib.Path(__file__).parents[2]


class KilledJobConformance(absltest.TestCase):
  """Kills the job, and looks at what it leaves."""

  def setUp(self):
    super().setUp()
    self.dir = pathlib.Path(self.create_tempdir().full_path)
    self.where = self.make_address()
    self.store = address.open_backend(self.where)
    self.make_reference()

  def make_address(self):
    """Returns the address of an empty store."""
    raise NotImplementedError

  def make_reference(self):
    """Refreshes day after day, undisturbed, in another store."""
    line = small_refresh.make_line(self.dir / 'reference')
    self.checksums, self.digests = {}, set()
    for cutoff in small_refresh.cutoffs():
      manifest = small_refresh.refresh(
          line, cutoff, self.dir / 'undisturbed'
      ).manifest
      found = contents.load(line.refresher.store, 'user', manifest.version)
      self.checksums[cutoff] = manifest.checksum
      self.digests.add(small_refresh.digest(found.vectors))

  def start(self, *words):
    process = subprocess.Popen(
        [sys.executable, '-m', 'tests.refresh.small_refresh', *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
        env=os.environ | {
            'JAX_PLATFORMS': 'cpu',
            'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
        },
    )
    self.addCleanup(process.communicate)
    self.addCleanup(process.kill)
    return process

  def start_days(self, *words):
    days = self.start('days', self.where, str(self.dir / 'job'), *words)
    self.assertEqual(days.stdout.readline(), 'ready\n')
    return days

  def kill_soon(self, rng):
    """Kills the job at some moment; returns what it did last."""
    days = self.start_days('on')
    killer = threading.Timer(rng.uniform(0, _LONGEST_SECONDS), days.kill)
    killer.start()
    lines = days.stdout.read().splitlines()
    killer.join()
    days.wait(_PATIENCE_SECONDS)
    self.assertNotIn(days.returncode, (0, 1))
    return lines[-1].split()[0] if lines else 'ready'

  def assert_whole(self):
    """Asserts that what is published is what an undisturbed job made."""
    version = self.store.current('user')
    manifest = snapshot.verify(self.store, 'user', version)
    self.assertEqual(manifest.checksum, self.checksums[manifest.cutoff])
    return manifest

  def test_every_rerun_completes_and_readers_see_whole_snapshots(self):
    rng = random.Random(0)
    line = small_refresh.make_line(self.where)
    first, *_, last = small_refresh.cutoffs()
    small_refresh.refresh(line, first, self.dir / 'job')
    readers = [self.start('read', self.where) for _ in range(_NUM_READERS)]
    moments = collections.Counter()
    for _ in range(_NUM_KILLS):
      moments[self.kill_soon(rng)] += 1
      self.assert_whole()
      for reader in readers:
        self.assertIsNone(reader.poll())
    logging.info('killed in the middle of %s', dict(moments))
    days = self.start_days()
    self.assertTrue(days.communicate(timeout=_PATIENCE_SECONDS)[0].endswith(
        'over\n'
    ))  # fmt: skip
    self.assertEqual(self.assert_whole().cutoff, last)
    for reader in readers:
      self.assert_saw_whole(reader)

  def assert_saw_whole(self, reader):
    output, _ = reader.communicate(timeout=_PATIENCE_SECONDS)
    self.assertEqual(reader.returncode, 0)
    by_version = {}
    for line in output.splitlines():
      version, digest, all_present = json.loads(line)
      self.assertTrue(all_present, line)
      self.assertIn(digest, self.digests, line)
      self.assertEqual(by_version.setdefault(version, digest), digest)
    self.assertNotEmpty(by_version)
