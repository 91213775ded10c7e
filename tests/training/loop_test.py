import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import numpy as np

from limaml_jax import errors
from limaml_jax.data import episodes
from limaml_jax.training import checkpoint
from limaml_jax.training import loop
from tests.training import small_run

_REPOSITORY = pathlib.Path(__file__).parents[2]
_PATIENCE_SECONDS = 120  # Before a test calls a hung process a failure.


def start(*arguments, **environment):
  return subprocess.Popen(
      [sys.executable, '-m', 'tests.training.small_run', *map(str, arguments)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      cwd=_REPOSITORY,
      env=os.environ | environment,
  )


_sharded = {}


def setUpModule():
  # Compiles for long, so it starts before the tests that need it not.
  workdir = tempfile.mkdtemp()
  flags = os.environ.get('XLA_FLAGS', '')
  _sharded['workdir'] = pathlib.Path(workdir)
  _sharded['process'] = start(
      'shard',
      workdir,
      XLA_FLAGS=f'{flags} --xla_force_host_platform_device_count=4',
      JAX_PLATFORMS='cpu',
  )


def tearDownModule():
  _sharded['process'].kill()
  _sharded['process'].wait()
  shutil.rmtree(_sharded['workdir'])


class LoopTestCase(parameterized.TestCase):
  """Has one uninterrupted run to compare with."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.whole = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.whole)
    cls.state = jax.device_get(small_run.train(cls.whole))

  def setUp(self):
    super().setUp()
    self.workdir = pathlib.Path(self.create_tempdir().full_path)

  def assert_same_run(self, state):
    self.assertEqual(int(state.step), small_run.NUM_STEPS)
    self.assertNotEmpty(jax.tree.leaves(state))
    chex.assert_tree_all_finite(state)
    chex.assert_trees_all_equal(jax.device_get(state), self.state)
    self.assertEqual(
        small_run.read_losses(self.workdir), small_run.read_losses(self.whole)
    )


class ResumeTest(LoopTestCase):

  def test_run_is_of_the_length_that_the_plan_says(self):
    self.assertEqual(int(self.state.step), small_run.NUM_STEPS)
    steps = [record['step'] for record in small_run.read_losses(self.whole)]
    self.assertEqual(steps, list(range(1, small_run.NUM_STEPS + 1)))

  def test_stopped_and_resumed_run_equals_the_uninterrupted_one(self):
    small_run.train(self.workdir, stop_after=5)
    self.assert_same_run(small_run.train(self.workdir))

  def test_run_that_is_told_to_stop_goes_on_to_the_same_end(self):
    # Between two checkpoints: the one that it makes is one more.
    state = small_run.train(self.workdir, should_stop=lambda step: step == 5)
    self.assertEqual(int(state.step), 5)
    self.assert_same_run(small_run.train(self.workdir))

  @parameterized.parameters(
      # The newest checkpoint is of step 4, the newest metrics are of step 5.
      ('pause', 5),
      # Step 4 is being saved, most likely.
      ('go_on', 4),
  )
  def test_killed_and_resumed_run_equals_the_uninterrupted_one(
      self, verb, step
  ):
    with start(verb, self.workdir, step) as process:
      self.assertEqual(process.stdout.readline(), f'{step}\n')
      process.kill()
    self.assertEqual(process.returncode, -signal.SIGKILL)
    self.assert_same_run(small_run.train(self.workdir))

  def test_finished_run_is_left_as_it_is(self):
    shutil.copytree(self.whole, self.workdir, dirs_exist_ok=True)
    self.assert_same_run(small_run.train(self.workdir))

  def test_another_seed_gives_other_parameters(self):
    other = small_run.train(self.workdir, stop_after=1, training__seed=1)
    same = small_run.read_losses(self.whole)[0]
    self.assertNotEqual(small_run.read_losses(self.workdir)[0], same)
    self.assertEqual(int(other.step), 1)

  def test_other_settings_are_refused_by_name(self):
    with self.assertRaisesRegex(
        errors.InputError, r'inner_loop.num_steps was 2, is 3\.'
    ):
      small_run.train(self.whole, inner_loop__num_steps=3)

  def test_other_data_is_refused(self):
    table, info = small_run.make_data()
    other = dataclasses.replace(info, fingerprint='other')
    with self.assertRaisesRegex(
        errors.InputError, "fingerprint was 'synthetic', is 'other'"
    ):
      small_run.train(self.whole, data=(table, other))

  def test_progress_counts_every_step(self):
    seen = []
    small_run.train(
        self.workdir,
        stop_after=3,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    self.assertEqual(seen, [(n, small_run.NUM_STEPS) for n in (1, 2, 3)])

  def test_log_without_training_events_is_refused(self):
    table, info = small_run.make_data()
    nothing = table._replace(num_train=np.zeros_like(table.num_train))
    with self.assertRaisesRegex(errors.InputError, 'no training events'):
      small_run.train(self.workdir, data=(nothing, info))


class DevicesTest(LoopTestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.sharded = _sharded['workdir']
    output, _ = _sharded['process'].communicate(timeout=_PATIENCE_SECONDS)
    cls.found = json.loads(output.splitlines()[-1])

  def assert_same_losses(self, name):
    expected = small_run.read_losses(self.whole)
    found = small_run.read_losses(self.sharded / name)
    self.assertLen(found, len(expected))
    for ours, theirs in zip(found, expected, strict=True):
      self.assertEqual(ours.keys(), theirs.keys())
      for metric, value in theirs.items():
        self.assertAlmostEqual(ours[metric], value, delta=1e-5, msg=metric)

  def test_four_devices_equal_one(self):
    self.assertEqual(self.found['num_devices'], 4)
    self.assert_same_losses('mesh_rows_1')

  def test_tables_divided_over_devices_equal_whole_ones(self):
    self.assert_same_losses('mesh_rows_2')
    for num_rows, num_local_rows in self.found['mesh_rows_2'].values():
      self.assertEqual(num_rows, 2 * num_local_rows)

  def test_tables_are_whole_unless_divided(self):
    for num_rows, num_local_rows in self.found['mesh_rows_1'].values():
      self.assertEqual(num_rows, num_local_rows)

  def test_meta_batch_that_devices_cannot_share_is_refused(self):
    self.assertIn('episodes.tasks_per_step is 6', self.found['error'])
    self.assertIn('4 devices', self.found['error'])


class NotFiniteTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.workdir = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.workdir)
    table, info = small_run.make_data()
    # A late event of a long history is in one query, and in no support.
    entity = int(np.argmax(table.num_train))
    cls.event = int(table.offsets[entity] + table.num_train[entity] - 1)
    table.targets[cls.event] = np.nan
    cls.data = table, info
    try:
      small_run.train(
          cls.workdir, data=cls.data, training__checkpoint_every=1
      )
    except errors.InputError as error:
      cls.message = str(error)
    path = cls.workdir / loop.NAN_REPORT_FILE
    cls.report = json.loads(path.read_text())

  def test_stops_the_run_and_names_the_step(self):
    self.assertIn(f'step {self.report["step"]}: ', self.message)
    self.assertIn('not finite', self.message)

  def test_saves_the_episodes_of_the_step(self):
    index = episodes.plan(*self.data, small_run.make_config().episodes)
    holds_event = (index.query_start <= self.event) & (
        self.event < index.query_stop
    )
    self.assertLen(self.report['episodes'], 8)
    self.assertIn(np.flatnonzero(holds_event)[0], self.report['episodes'])

  def test_leaves_no_checkpoint_of_the_broken_state(self):
    with checkpoint.Checkpoints(self.workdir) as checkpoints:
      latest = checkpoints.latest_step or 0
    self.assertEqual(latest, self.report['step'] - 1)

  def test_leaves_no_broken_metrics(self):
    steps = [record['step'] for record in small_run.read_losses(self.workdir)]
    self.assertEqual(steps, list(range(1, self.report['step'])))


if __name__ == '__main__':
  absltest.main()
