"""The binary that trains, as one of several processes and told to stop."""

import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from absl.testing import absltest
from absl.testing import parameterized

from limaml_jax.training import writers
from tests.experiments import commands

_PATIENCE_SECONDS = 300


def launch(*words):
  """Runs `launch.local` with two processes, and its further words."""
  return subprocess.run(
      [
          sys.executable, '-m', 'launch.local', '--num_processes=2', '--submit',
          *words,
      ],
      cwd=commands.ROOT,
      capture_output=True,
      text=True,
      timeout=_PATIENCE_SECONDS,
      check=False,
  )  # fmt: skip


def train(*flags):
  """Runs `experiments.train` in two processes."""
  return launch('--', '-m', 'experiments.train', *flags)


class LeaveTest(parameterized.TestCase):

  @parameterized.parameters(
      ('UNAVAILABLE', 75, 'process 1 of 2 lost the others (UNAVAILABLE: told'),
      ('RESOURCE_EXHAUSTED', 1, 'JaxRuntimeError: RESOURCE_EXHAUSTED: told'),
      ('bug', 1, 'ValueError: a bug'),
  )
  def test_status_and_words_are_of_the_cause(self, how, status, words):
    result = launch(
        '--max_restarts=0', '--grace_seconds=0', '--', '-m',
        'tests.experiments.leaving', f'--how={how}', '--compilation_cache=',
    )  # fmt: skip
    self.assertEqual(result.returncode, status, result.stderr[-3000:])
    self.assertIn(words, result.stderr)
    self.assertIn(f'process 1 ended with status {status}', result.stderr)


class MultihostTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.dir = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.dir)
    commands.write_log(cls.dir / 'raw')
    result = commands.run(
        'prepare',
        f'--data_dir={cls.dir / "raw"}',
        f'--output={cls.dir / "tasks"}',
        *commands.SMALL,
    )
    assert not result.returncode, result.stderr

  def flags(self, name, *more):
    return (
        f'--data={self.dir / "tasks"}',
        f'--workdir={self.dir / name}',
        '--compilation_cache=',
        *commands.SMALL,
        *more,
    )

  def test_two_processes_train_one_model_and_one_speaks(self):
    result = train(*self.flags('two'))
    self.assertEqual(result.returncode, 0, result.stderr[-3000:])
    self.assertEqual(result.stdout.count('outer steps; second order'), 1)
    self.assertEqual(result.stderr.count('tasks on 2 devices'), 1)
    steps = [r['step'] for r in writers.read_metrics(self.dir / 'two')]
    self.assertEqual(steps, sorted(set(steps)))

  def test_bad_input_ends_all_for_good(self):
    result = train(
        *self.flags('bad', '--config.episodes.tasks_per_step=7')
    )
    self.assertEqual(result.returncode, 1, result.stderr[-3000:])
    self.assertIn('error: episodes.tasks_per_step is 7', result.stderr)
    self.assertNotIn('Traceback', result.stderr)
    self.assertNotIn('starting all again', result.stderr)

  def test_cluster_that_is_required_and_not_there(self):
    result = commands.run('train', *self.flags('none', '--multihost'))
    self.assertEqual(result.returncode, 1)
    self.assertStartsWith(result.stderr, 'error: --multihost: no cluster')
    self.assertLen(result.stderr.splitlines(), 1)

  def test_sigterm_ends_with_a_checkpoint_and_the_status_asked_for(self):
    workdir = self.dir / 'stopped'
    flags = self.flags(
        'stopped',
        '--preempted_status=75',
        '--config.outer_loop.num_epochs=100000',
        '--config.training.log_every=1',
        '--config.training.checkpoint_every=1000000',
    )
    with subprocess.Popen(
        [sys.executable, '-m', 'experiments.train', *flags],
        cwd=commands.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
      deadline = time.monotonic() + _PATIENCE_SECONDS
      while not writers.read_metrics(workdir):
        self.assertLess(time.monotonic(), deadline)
        self.assertIsNone(process.poll())
        time.sleep(0.1)
      process.send_signal(signal.SIGTERM)
      out, err = process.communicate(timeout=_PATIENCE_SECONDS)
    self.assertEqual(process.returncode, 75, err[-3000:])
    self.assertIn('stopped by SIGTERM, with a checkpoint', out)
    last = writers.read_metrics(workdir)[-1]['step']
    saved = [path.name for path in (workdir / 'checkpoints').iterdir()]
    self.assertEqual(saved, [str(last)])


if __name__ == '__main__':
  absltest.main()
