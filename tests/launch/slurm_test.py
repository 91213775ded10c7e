"""What is submitted to SLURM; `-m slurm` submits it to a real one.

    LIMAML_KUAIRAND=DIR bash launch/test.sh -m slurm tests/launch/slurm_test.py

trains KuaiRand-Pure as well; DIR is what README's --data_dir names.
"""

import ast
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import pytest

from launch import job as job_lib
from launch import sbatch
from launch import slurm_job
from launch import topology as topology_lib
from limaml_jax import config as config_lib
from limaml_jax import overrides
from limaml_jax.data import dataset
from limaml_jax.training import assembly as assembly_lib
from limaml_jax.training import checkpoint
from limaml_jax.training import run_config
from tests.experiments import commands
from tests.launch import slurm_cluster

ROOT = pathlib.Path(__file__).parents[2]
JOB = job_lib.parse(['-m', 'experiments.train', '--data=a b'], python='py')
PROGRAM = ('py', '-m', 'experiments.train', '--data=a b')


def run(*words):
  return subprocess.run(
      words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
  )


class PlanTest(parameterized.TestCase):

  def test_submits_the_script_with_the_program(self):
    topology = topology_lib.Slurm(
        num_nodes=2,
        num_tasks_per_node=4,
        num_gpus_per_node=4,
        num_cpus_per_task=8,
        partition='long',
        time='4:00:00',
        signal_seconds=60,
        max_restarts=3,
        options=('--account=me',),
    )
    (command,) = sbatch.plan(topology, JOB)
    before, after = command.argv[: -len(PROGRAM) - 4], command.argv[-8:]
    self.assertEqual(before[0], 'sbatch')
    self.assertCountEqual(
        before[1:],
        (
            '--requeue', '--job-name=limaml', '--partition=long', '--nodes=2',
            '--ntasks-per-node=4', '--cpus-per-task=8', '--gpus-per-node=4',
            '--time=4:00:00', '--signal=B:USR1@60', '--open-mode=append',
            '--output=limaml-%j.out', '--account=me',
        ),
    )  # fmt: skip
    script = str(ROOT / 'launch' / 'slurm_job.py')
    words = (script, '--max_restarts=3', '--', *PROGRAM, '--multihost')
    self.assertEqual(after, words)

  def test_one_task_is_no_cluster_and_asks_for_no_more_than_it_was_told(self):
    (command,) = sbatch.plan(topology_lib.Slurm(1), JOB)
    self.assertEqual(command.argv[-len(PROGRAM) :], PROGRAM)
    options = {word.partition('=')[0] for word in command.argv[1:8]}
    for name in ('--partition', '--time', '--gpus-per-node', '--cpus-per-task'):
      self.assertNotIn(name, options)

  @parameterized.parameters('90', '4:00:00', '1-12', '1-12:00:00')
  def test_knows_time_limits(self, time_limit):
    topology = topology_lib.Slurm(1, time=time_limit)
    (command,) = sbatch.plan(topology, JOB)
    self.assertIn(f'--time={time_limit}', command.argv)

  @parameterized.parameters('4h', '1:2:3:4', '-1', '1 --wrap=x')
  def test_refuses_what_is_no_time_limit(self, time_limit):
    topology = topology_lib.Slurm(1, time=time_limit)
    with self.assertRaisesRegex(job_lib.LaunchError, 'no time limit'):
      sbatch.plan(topology, JOB)

  def test_prints_the_command_and_does_nothing(self):
    flags = ('--gpus_per_node=2', '--python=py')
    result = run(
        sys.executable, '-m', 'launch.slurm', *flags, '--', *PROGRAM[1:]
    )
    self.assertEqual(result.returncode, 0, result.stderr)
    self.assertIn('--ntasks-per-node=2', result.stdout)
    self.assertEndsWith(
        result.stdout, " py -m experiments.train '--data=a b' --multihost\n"
    )
    self.assertIn('nothing was done', result.stderr)

  def test_the_script_stands_alone(self):
    # SLURM copies this file to a node, and nothing beside it.
    text = sbatch.SCRIPT.read_text()
    self.assertStartsWith(text, '#!/usr/bin/env python3\n')
    nodes = list(ast.walk(ast.parse(text)))
    self.assertFalse(any(isinstance(n, ast.ImportFrom) for n in nodes))
    for node in nodes:
      if isinstance(node, ast.Import):
        names = {alias.name for alias in node.names}
        self.assertContainsSubset(names, sys.stdlib_module_names)

  def test_says_that_there_is_no_slurm(self):
    result = subprocess.run(
        [sys.executable, '-m', 'launch.slurm', '--submit', '--', *PROGRAM[1:]],
        cwd=ROOT, env=os.environ | {'PATH': '/nowhere'},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    self.assertEqual(result.returncode, 1)
    self.assertIn('error: sbatch: no such program here', result.stderr)
    self.assertNotIn('Traceback', result.stderr)


class CauseTest(parameterized.TestCase):

  @parameterized.parameters(
      (['1: task 1: Exited with exit code 1', '0: task 0: Killed'], 1),
      (['1: task 1: Killed', '0: task 0: Exited with exit code 1'], 137),
      # These may be effects of what was reported later.
      (['0: task 0: Aborted', '1: task 1: Exited with exit code 1'], 1),
      (
          [
              '0: tasks 0,2-3: Aborted (core dumped)',
              '0: task 4: Killed',
              '1: task 1: Exited with exit code 3',
          ],
          3,
      ),
      ([f'{n}: task 0: Exited with exit code {n}' for n in (75, 2)], 2),
      (['0: task 0: Aborted', '1: task 1: Killed'], 134),
      (['0: task 0: Exited with exit code 75', '1: task 1: Killed'], 75),
      (['0: task 0: Aborted', '1: task 1: Exited with exit code 75'], 134),
  )
  def test_is_the_failure_that_others_follow(self, lines, expected):
    failures = [f'srun: error: node{line}\n'.encode() for line in lines]
    self.assertEqual(slurm_job.cause(failures), expected)


class OnSlurm(absltest.TestCase):
  """Submits to two virtual nodes of this machine."""

  patience_seconds = 180

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    if reason := slurm_cluster.start():
      raise cls.failureException(f'no SLURM: {reason}')
    cls.addClassCleanup(slurm_cluster.stop)

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    self.output = self.folder / 'output'
    self.job = None

  def tearDown(self):
    if self.job is not None:
      run('scancel', self.job)
    super().tearDown()

  def submit(self, *program, flags=(), nodes=2):
    result = run(
        sys.executable, '-m', 'launch.slurm', '--submit', f'--nodes={nodes}',
        f'--sbatch=--output={self.output}', *flags, '--', *program,
    )  # fmt: skip
    self.assertEqual(result.returncode, 0, result.stderr)
    match = re.search(r'Submitted batch job (\d+)', result.stdout)
    self.job = match.group(1)

  def fields(self):
    text = run('scontrol', 'show', 'job', self.job).stdout
    return dict(re.findall(r'(\S+?)=(\S*)', text))

  def wait_until(self, condition):
    deadline = time.monotonic() + self.patience_seconds
    while not condition():
      if time.monotonic() > deadline:
        text = self.output.read_text() if self.output.exists() else 'no output'
        self.fail(f'{self.fields()["JobState"]}: {text[-3000:]}')
      time.sleep(0.2)

  def wait_for_end(self):
    """Returns the fields of the job once it will not go on."""
    ends = ('COMPLETED', 'FAILED', 'TIMEOUT', 'CANCELLED', 'NODE_FAIL')
    self.wait_until(lambda: self.fields()['JobState'] in ends)
    return self.fields()


@pytest.mark.slurm
class JobTest(OnSlurm):
  """Of a program that does as it is told."""

  def start(self, *actions, flags=()):
    words = ('-m', 'tests.launch.member', str(self.folder), *actions)
    self.submit(*words, flags=flags)

  def wait_for(self, *names):
    self.wait_until(lambda: all((self.folder / n).exists() for n in names))

  def num_starts(self, name='0'):
    return len((self.folder / name).read_text().splitlines())

  def assert_ended(self, state, exit_code, restarts='0'):
    fields = self.wait_for_end()
    found = [fields[name] for name in ('JobState', 'ExitCode', 'Restarts')]
    self.assertEqual(found, [state, exit_code, restarts], self.told)

  @property
  def told(self):
    return self.output.read_text()

  def test_both_nodes_run_the_program(self):
    self.start()
    self.assert_ended('COMPLETED', '0:0')
    self.assertIn('0: attempt 0\n', self.told)
    self.assertIn('1: attempt 0\n', self.told)
    record = json.loads((self.folder / '1').read_text())
    self.assertIn('--multihost', record['argv'])

  def test_a_killed_task_starts_all_again(self):
    self.start('0.0=wait', '0.1=die:9')
    self.assert_ended('COMPLETED', '0:0')
    self.assertEqual([self.num_starts('0'), self.num_starts('1')], [2, 2])

  def test_an_aborted_task_starts_all_again(self):
    self.start('0.0=wait', '0.1=die:6')
    self.assert_ended('COMPLETED', '0:0')
    self.assertIn(': task 1: Aborted', self.told)
    self.assertIn('the step ended with status 134', self.told)

  def test_a_lost_peer_starts_all_again(self):
    self.start('0.0=wait', '0.1=leave:75')
    self.assert_ended('COMPLETED', '0:0')
    self.assertEqual([self.num_starts('0'), self.num_starts('1')], [2, 2])

  def test_bad_input_fails_for_good(self):
    # The other task is killed for it, which must not look like the cause.
    self.start('0.0=deaf', '0.1=leave:1')
    self.assert_ended('FAILED', '1:0')
    self.assertEqual(self.num_starts('0'), 1)

  def test_gives_up(self):
    actions = [f'{attempt}.0=end:75' for attempt in range(9)]
    self.start(*actions, flags=('--max_restarts=1',))
    self.assert_ended('FAILED', '75:0')
    self.assertEqual(self.num_starts('0'), 2)
    self.assertIn('gave up after 1 restarts', self.told)

  def test_told_to_end_it_saves_and_is_done(self):
    self.start('0.0=wait', '0.1=wait')
    self.wait_for('0.0.waits', '1.0.waits')
    run('scancel', '--signal=TERM', self.job)
    self.assert_ended('COMPLETED', '0:0')
    self.wait_for('0.0.saved', '1.0.saved')
    self.assertEqual(self.num_starts('0'), 1)

  def test_told_by_its_script_it_saves_and_is_done(self):
    self.start('0.0=wait', '0.1=wait')
    self.wait_for('0.0.waits', '1.0.waits')
    run('scancel', '--signal=TERM', '--batch', self.job)
    self.assert_ended('COMPLETED', '0:0')
    self.wait_for('0.0.saved', '1.0.saved')

  def test_requeued_it_saves_and_goes_on(self):
    self.start('0.0=wait', '0.1=wait')
    self.wait_for('0.0.waits', '1.0.waits')
    run('scontrol', 'requeue', self.job)
    self.assert_ended('COMPLETED', '0:0', restarts='1')
    self.wait_for('0.0.saved', '1.0.saved')
    self.assertIn('0: attempt 1\n', self.told)
    self.assertIn('0: attempt 0\n', self.told)  # Of before, kept.

  def test_near_its_time_limit_it_saves_and_goes_on(self):
    # SLURM looks at limits twice a minute, and signals up to a minute early.
    flags = ('--time=1', '--signal_seconds=20')
    self.start('0.0=wait', '0.1=wait', flags=flags)
    self.assert_ended('COMPLETED', '0:0', restarts='1')
    self.wait_for('0.0.saved', '1.0.saved')
    self.assertIn('the time limit is near', self.told)

  def test_preempted_by_another_job_it_saves_and_goes_on(self):
    self.start('0.0=wait', '0.1=wait')
    self.wait_for('0.0.waits', '1.0.waits')
    other = run(
        'sbatch', '--partition=urgent', '--nodes=2', '--exclusive',
        '--output=/dev/null', '--wrap=true',
    )  # fmt: skip
    self.assertEqual(other.returncode, 0, other.stderr)
    self.assert_ended('COMPLETED', '0:0', restarts='1')
    self.wait_for('0.0.saved', '1.0.saved')
    self.assertIn('0: attempt 1\n', self.told)


@pytest.mark.slurm
class TrainTest(OnSlurm):
  """Of meta-training, on two nodes."""

  # 80 epochs of 9 steps: 20 seconds.
  settings = (*commands.SMALL, '--config.outer_loop.num_epochs=80')

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.dir = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.dir)
    cls.tasks = cls.dir / 'tasks'
    raw = cls.raw()
    result = commands.run(
        'prepare', f'--data_dir={raw}', f'--output={cls.tasks}', *cls.settings
    )
    assert result.returncode == 0, result.stderr

  @classmethod
  def raw(cls):
    """Returns the folder of the log."""
    commands.write_log(cls.dir / 'raw')
    return cls.dir / 'raw'

  def train(self, name):
    self.workdir = self.dir / name
    self.submit(
        '-m', 'experiments.train', f'--data={self.tasks}',
        f'--workdir={self.workdir}',
        f'--compilation_cache={self.dir / "cache"}', *self.settings,
    )  # fmt: skip

  def losses(self):
    path = self.workdir / 'metrics.jsonl'
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) | {'wall_s': 0} for line in lines]

  def step(self):
    """Returns the step that was reported last."""
    return max((record['step'] for record in self.losses()), default=0)

  def wait_for_step(self, step):
    self.wait_until(lambda: self.step() >= step)

  def state(self):
    """Returns the newest checkpoint, on the one device here."""
    info = dataset.load_info(self.tasks)
    settings = run_config.read_settings(self.workdir)
    config = overrides.override(config_lib.Config(), settings)
    assembly = assembly_lib.assemble(config, info, mesh_rows=1)
    abstract = assembly_lib.abstract_state(config, assembly)
    with checkpoint.Checkpoints(self.workdir) as checkpoints:
      return jax.device_get(checkpoints.restore_newest(abstract))

  def kill_second_task(self):
    wanted = {b'SLURM_PROCID=1', f'SLURM_JOB_ID={self.job}'.encode()}
    for path in pathlib.Path('/proc').glob('[0-9]*'):
      try:
        variables = set((path / 'environ').read_bytes().split(b'\0'))
        program = (path / 'cmdline').read_bytes()
      except OSError:  # It has ended.
        continue
      if wanted <= variables and b'experiments.train' in program:
        os.kill(int(path.name), signal.SIGKILL)
        return
    self.fail('there is no second task')

  def test_stopped_killed_and_requeued_it_is_the_same_run(self):
    self.train('whole')
    self.assertEqual(self.wait_for_end()['JobState'], 'COMPLETED')
    expected_state, expected_losses = self.state(), self.losses()
    num_steps = self.step()
    self.assertIn('on 2 devices', self.output.read_text())

    self.train('torn')
    self.wait_for_step(40)
    run('scancel', '--signal=TERM', self.job)
    self.assertEqual(self.wait_for_end()['JobState'], 'COMPLETED')
    self.assertBetween(int(self.state().step), 40, num_steps - 1)

    run('scontrol', 'requeue', self.job)
    self.wait_for_step(self.step() + 100)
    self.kill_second_task()
    self.wait_until(lambda: 'starting it again' in self.output.read_text())
    self.wait_for_step(self.step() + 60)
    run('scontrol', 'requeue', self.job)
    self.wait_until(lambda: self.fields()['Restarts'] == '2')
    self.assertEqual(self.wait_for_end()['JobState'], 'COMPLETED')

    chex.assert_trees_all_equal(self.state(), expected_state)
    self.assertEqual(self.losses(), expected_losses)
    self.assertEqual(int(expected_state.step), num_steps)


@pytest.mark.slurm
class KuaiRandTrainTest(TrainTest):
  """The same of a real log, with the settings as they stand."""

  settings = (
      f'--config={ROOT}/experiments/configs/kuairand.py',
      '--config.outer_loop.num_epochs=1',
  )
  patience_seconds = 600

  @classmethod
  def setUpClass(cls):
    if 'LIMAML_KUAIRAND' not in os.environ:
      raise unittest.SkipTest('NOT TRAINED ON kuairand: no LIMAML_KUAIRAND')
    super().setUpClass()

  @classmethod
  def raw(cls):
    return os.environ['LIMAML_KUAIRAND']


if __name__ == '__main__':
  absltest.main()
