import pathlib
import shutil
import tempfile

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import numpy as np

from limaml_jax import errors
from limaml_jax.data import episodes
from limaml_jax.data import holdout
from limaml_jax.meta import outer_loop
from limaml_jax.training import assembly as assembly_lib
from limaml_jax.training import checkpoint
from limaml_jax.training import judge
from tests.training import small_run

_LOSS = checkpoint.HOLDOUT_LOSS
_SETTINGS = {
    'outer_loop__holdout_fraction': 0.3,
    # So high that the best checkpoint is not the last one.
    'outer_loop__learning_rate': 1.0,
    'outer_loop__warmup_fraction': 0.0,
    'training__checkpoint_every': 1,
}


def restore(workdir):
  config = small_run.make_config(**_SETTINGS)
  _, info = small_run.make_data()
  assembly = assembly_lib.assemble(config, info)
  with checkpoint.Checkpoints(workdir) as checkpoints:
    abstract = assembly_lib.abstract_state(config, assembly)
    return checkpoints.best_step, checkpoints.restore_served(abstract)


def held_out_loss(params):
  """Returns the mean query loss by rows, of all episodes at once."""
  config = small_run.make_config(**_SETTINGS)
  table, info = small_run.make_data()
  assembly = assembly_lib.assemble(config, info)
  index = episodes.plan(table, info, config.episodes)
  _, index = holdout.split(table, index, 0.3)
  _, sizes = index.sizes()
  batch = episodes.assemble(
      table,
      index,
      names=assembly.names,
      entity_type='user',
      num_support=8,
      num_query=4,
      weights=sizes,
  )
  batch = batch._replace(
      support=assembly.model.index(batch.support),
      query=assembly.model.index(batch.query),
  )
  meta_loss = outer_loop.make_meta_loss(
      encode=assembly.model.encode,
      loss_fn=assembly.loss_fn,
      query_loss_fn=assembly.query_loss_fn,
      config=config.inner_loop,
  )
  params = jax.tree.map(jnp.asarray, params)
  return float(jax.jit(meta_loss)(params, batch)[1].query_loss)


class JudgeTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.whole = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.whole)
    cls.state = jax.device_get(small_run.train(cls.whole, **_SETTINGS))
    cls.records = small_run.read_losses(cls.whole)
    cls.losses = {r['step']: r[_LOSS] for r in cls.records if _LOSS in r}

  def setUp(self):
    super().setUp()
    self.workdir = pathlib.Path(self.create_tempdir().full_path)

  def test_every_checkpoint_is_judged(self):
    num_steps = int(self.state.step)
    self.assertEqual(list(self.losses), list(range(1, num_steps + 1)))

  def test_loss_is_the_mean_over_held_out_rows(self):
    last = self.losses[int(self.state.step)]
    np.testing.assert_allclose(
        last, held_out_loss(self.state.params), rtol=1e-5
    )

  def test_the_best_checkpoint_is_served(self):
    best = min(self.losses, key=self.losses.get)
    self.assertLess(best, int(self.state.step) - 2)  # Not of the latest two.
    found, state = restore(self.whole)
    self.assertEqual(found, best)
    self.assertEqual(int(state.step), best)
    stopped = small_run.train(self.workdir, stop_after=best, **_SETTINGS)
    chex.assert_trees_all_equal(jax.device_get(state), jax.device_get(stopped))

  def test_resumed_run_equals_the_uninterrupted_one(self):
    small_run.train(self.workdir, stop_after=4, **_SETTINGS)
    state = small_run.train(self.workdir, **_SETTINGS)
    chex.assert_trees_all_equal(jax.device_get(state), self.state)
    self.assertEqual(small_run.read_losses(self.workdir), self.records)
    self.assertEqual(restore(self.workdir)[0], restore(self.whole)[0])

  def test_without_a_holdout_the_newest_is_served(self):
    small_run.train(self.workdir, stop_after=4)
    found, _ = restore(self.workdir)
    self.assertEqual(found, 4)
    self.assertNotIn(_LOSS, (self.workdir / 'metrics.jsonl').read_text())

  def test_nothing_held_out_is_refused(self):
    table, info = small_run.make_data()
    config = small_run.make_config(**_SETTINGS)
    assembly = assembly_lib.assemble(config, info)
    nobody = table._replace(num_train=np.zeros_like(table.num_train))
    with self.assertRaisesRegex(errors.InputError, 'raise it'):
      judge.make(config, nobody, info, assembly=assembly, shardings=None)

  def test_loss_that_is_not_finite_is_refused(self):
    broken = jax.tree.map(lambda x: x * np.nan, self.state.params)
    config = small_run.make_config(**_SETTINGS)
    table, info = small_run.make_data()
    assembly = assembly_lib.assemble(config, info)
    whole = judge.make(config, table, info, assembly=assembly, shardings=None)
    with self.assertRaisesRegex(errors.InputError, 'not finite'):
      whole(broken)


if __name__ == '__main__':
  absltest.main()
