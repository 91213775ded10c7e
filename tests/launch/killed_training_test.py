"""SIGKILL of a random process, again and again: the run ends as if never.

`LIMAML_KILLS` says how often, 2 when left out.
"""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from absl.testing import absltest
import chex
import pytest

from tests.training import clusters
from tests.training import small_run

_NUM_KILLS = int(os.environ.get('LIMAML_KILLS', '2'))
_STEPS_PER_EPOCH = 10
_SETTINGS = {
    'training__mesh_rows': 2,
    # Two steps for each kill at the least.
    'outer_loop__num_epochs': 2 + _NUM_KILLS // 5,
}
_PATIENCE_SECONDS = 300
_STARTUP_SECONDS = 8.0  # Within which one kill in three falls.


def children_of(pid):
  """Returns the processes that another has started and that still run."""
  try:
    return pathlib.Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
  except FileNotFoundError:
    return []


def lines_of(path):
  return path.read_text().splitlines() if path.exists() else []


def newest_checkpoint(workdir):
  """Returns the newest step that is saved whole, 0 for none."""
  names = [path.name for path in workdir.glob('checkpoints/*')]
  return max((int(name) for name in names if name.isdecimal()), default=0)


class Killer:
  """Kills processes of a launcher at random, and notes what was saved."""

  def __init__(self, launcher, workdir):
    self._launcher = launcher
    self._workdir = workdir
    self._random = random.Random(_NUM_KILLS)
    self.saved = []  # (lines in the first process's notes, newest checkpoint).

  def kill(self, after_step):
    """Kills one, some time after a step is done or while all are starting."""
    pids = self._wait(lambda: len(children_of(self._launcher.pid)) == 2)
    if self._random.random() < 1 / 3:
      time.sleep(self._random.uniform(0, _STARTUP_SECONDS))
    else:
      self._wait(lambda: self._last_step() >= after_step)
      time.sleep(self._random.uniform(0, 0.5))
    pids = children_of(self._launcher.pid)
    notes = lines_of(self._workdir / 'seen_0.jsonl')
    self.saved.append((len(notes), newest_checkpoint(self._workdir)))
    os.kill(int(self._random.choice(pids)), 9)
    self._wait(lambda: children_of(self._launcher.pid) != pids)

  def _last_step(self):
    records = lines_of(self._workdir / 'metrics.jsonl')
    return json.loads(records[-1])['step'] if records else 0

  def _wait(self, is_so):
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
      assert self._launcher.poll() is None, 'the launcher has ended'
      assert time.monotonic() < deadline, 'it takes too long'
      time.sleep(0.05)


class KilledTrainingTest(absltest.TestCase):

  def test_ends_as_the_uninterrupted_run(self):
    directory = pathlib.Path(tempfile.mkdtemp())
    self.addCleanup(shutil.rmtree, directory)
    whole, killed = directory / 'whole', directory / 'killed'
    clusters.finish(
        clusters.start_cluster(2, 1, workdir=whole, settings=_SETTINGS)
    )
    num_steps = _STEPS_PER_EPOCH * _SETTINGS['outer_loop__num_epochs']
    killer = self.train_and_kill(killed, num_steps)
    self.assertLen(killer.saved, _NUM_KILLS)
    self.assertEqual(int(clusters.restore(killed).step), num_steps)
    chex.assert_trees_all_equal(
        clusters.restore(killed), clusters.restore(whole)
    )
    self.assertEqual(
        small_run.read_losses(killed), small_run.read_losses(whole)
    )
    self.assert_no_checkpoint_lost(killed, killer.saved)

  def train_and_kill(self, workdir, num_steps):
    arguments = {'workdir': str(workdir), 'settings': _SETTINGS}
    arguments['step_seconds'] = 0.1
    command = [
        sys.executable, '-m', 'launch.local', '--num_processes=2', '--submit',
        f'--max_restarts={_NUM_KILLS + 2}', '--grace_seconds=1',
        '--max_delay_seconds=0.1', '--', '-m', 'tests.training.cluster_run',
        json.dumps(arguments),
    ]  # fmt: skip
    with (
        tempfile.TemporaryFile('w+') as output,
        subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=clusters.REPOSITORY,
        ) as launcher,
    ):
      killer = Killer(launcher, workdir)
      try:
        for n in range(_NUM_KILLS):
          killer.kill(after_step=1 + n * (num_steps - 8) // _NUM_KILLS)
        launcher.wait(_PATIENCE_SECONDS)
      finally:
        launcher.terminate()
      output.seek(0)
      self.assertEqual(launcher.returncode, 0, output.read()[-3000:])
    return killer

  def assert_no_checkpoint_lost(self, workdir, saved):
    notes = lines_of(workdir / 'seen_0.jsonl')
    steps = [json.loads(line)[0] for line in notes]
    for (begin, newest), (end, _) in zip(
        saved, [*saved[1:], (len(steps), 0)], strict=True
    ):
      if begin < end:  # Else it was killed again before its first step.
        self.assertGreaterEqual(steps[begin] - 1, newest)

class SilentPeerTest(absltest.TestCase):

  @pytest.mark.slow
  def test_a_process_that_is_silent_ends_the_others_in_time(self):
    workdir = pathlib.Path(self.create_tempdir().full_path)
    timeout = 10
    silent, waiting = clusters.start_cluster(
        2,
        1,
        workdir=workdir,
        settings=_SETTINGS,
        step_seconds=1,
        peer_timeout_seconds=timeout,
    )
    try:
      deadline = time.monotonic() + _PATIENCE_SECONDS
      while not lines_of(workdir / 'metrics.jsonl'):
        self.assertLess(time.monotonic(), deadline)
        time.sleep(0.1)
      # The second is stopped: what it holds open stays so.
      waiting, silent = silent, waiting
      silent.send_signal(signal.SIGSTOP)
      begin = time.monotonic()
      waiting.communicate(timeout=_PATIENCE_SECONDS)
      self.assertLess(time.monotonic() - begin, 3 * timeout)
      self.assertNotEqual(waiting.returncode, 0)
    finally:
      for process in (silent, waiting):
        process.kill()
        process.wait()


if __name__ == '__main__':
  absltest.main()
