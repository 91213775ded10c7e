import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import numpy as np

from limaml_jax.data import reader
from limaml_jax.training import announce
from limaml_jax.training import assembly as assembly_lib
from limaml_jax.training import loop
from tests.training import small_run


def make_plan(**settings):
  """Returns what `adapt` will choose for the first meta-batch of a run."""
  config = small_run.make_config(**settings)
  table, info = small_run.make_data()
  assembly = assembly_lib.assemble(config, info)
  steps, _ = reader.make_reader(
      table, info, names=assembly.names, config=config
  )
  params = jax.eval_shape(assembly.model.init, jax.random.key(0))
  support = steps[0].episodes.support
  return announce.plan_adaptation(config, assembly, params, support)


def messages(logs, *, without):
  found = (record.getMessage() for record in logs.records)
  return [message for message in found if without not in message]


class PlanAdaptationTest(parameterized.TestCase):

  @parameterized.parameters('auto', 'low_rank')
  def test_kernels_of_the_meta_block_adapt_by_factors(self, implementation):
    plan = make_plan(inner_loop__implementation=implementation)
    self.assertEqual(
        plan.low_rank,
        {
            "['user']['Dense_0']['kernel']": 1,
            "['user']['Dense_1']['kernel']": 1,
        },
    )
    self.assertEmpty(plan.refused)

  def test_plain_is_plain(self):
    plan = make_plan(inner_loop__implementation='plain')
    self.assertEmpty(plan.low_rank)


class LogTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.workdir = pathlib.Path(self.create_tempdir().full_path)

  def test_run_says_how_tasks_are_padded_and_adapted(self):
    with self.assertLogs('limaml_jax', 'INFO') as logs:
      small_run.train(
          self.workdir, stop_after=4, episodes__num_support_buckets=2
      )
    first, *others = messages(logs, without='microbatches')
    self.assertRegex(first, r'second order .* K=2; \d+ outer steps of 8 tasks')
    self.assertRegex(
        first, r'supports padded to \d, 8 \(\d+% padding\), queries padded to 4'
    )
    self.assertNotEmpty(others)
    for message in others:
      self.assertRegex(message, r'\d support and 4 query rows: adapts by facto')
    self.assertLen(set(others), len(others))  # Once for each shape.

  def test_joint_training_has_no_inner_loop_to_tell_of(self):
    with self.assertLogs('limaml_jax', 'INFO') as logs:
      small_run.train(self.workdir, stop_after=2, inner_loop__num_steps=0)
    (message,) = messages(logs, without='microbatches')
    self.assertIn('joint training', message)


class MemoryBudgetTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    loop._compile.cache_clear()  # What is not traced again says nothing.

  def log_of(self, budget_bytes):
    workdir = pathlib.Path(self.create_tempdir().full_path)
    with self.assertLogs('limaml_jax', 'INFO') as logs:
      small_run.train(
          workdir, stop_after=1, training__memory_budget_bytes=budget_bytes
      )
    return [
        (r.levelname, r.getMessage())
        for r in logs.records
        if 'microbatches' in r.getMessage()
    ]

  def test_enough_is_one_microbatch(self):
    ((level, message),) = self.log_of(10**9)
    self.assertEqual(level, 'INFO')
    self.assertIn('in 1 microbatches', message)

  def test_too_little_is_a_task_at_a_time_and_a_warning(self):
    ((level, message),) = self.log_of(1)
    self.assertEqual(level, 'WARNING')
    self.assertIn('in 8 microbatches', message)


class EquivalentSettingsTest(parameterized.TestCase):
  """Settings of how to compute leave what is computed."""

  @parameterized.parameters(
      {'training__memory_budget_bytes': 1},
      {'inner_loop__remat': True},
      {'inner_loop__implementation': 'plain'},
  )
  def test_first_steps_are_the_same(self, **settings):
    losses = []
    for name, changes in (('one', {}), ('other', settings)):
      workdir = pathlib.Path(self.create_tempdir(name).full_path)
      state = small_run.train(workdir, stop_after=3, **changes)
      chex.assert_tree_all_finite(state)
      losses.append([r['meta_loss'] for r in small_run.read_losses(workdir)])
    self.assertLen(losses[0], 3)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


if __name__ == '__main__':
  absltest.main()
