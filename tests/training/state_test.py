import functools

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from limaml_jax.data import reader as reader_lib
from limaml_jax.meta import outer_loop
from limaml_jax.training import assembly as assembly_lib
from limaml_jax.training import mesh as mesh_lib
from limaml_jax.training import state as state_lib
from tests.training import small_run


@functools.cache
def run_two_buckets():
  """Runs every step of an epoch; returns what was seen on the way."""
  config = small_run.make_config(episodes__support_buckets=(2, 8))
  table, info = small_run.make_data()
  assembly = assembly_lib.assemble(config, info)
  steps, _ = reader_lib.make_reader(
      table, info, names=assembly.names, config=config
  )
  optimizers = assembly_lib.make_optimizers(config, len(steps))
  create, shardings = state_lib.make_create(
      assembly.model.init, optimizers, assembly.mesh
  )
  state = create(jax.random.key(0))
  meta_loss = outer_loop.make_meta_loss(
      encode=assembly.model.encode,
      loss_fn=assembly.loss_fn,
      query_loss_fn=assembly.query_loss_fn,
      config=config.inner_loop,
  )
  traced = []

  def traced_meta_loss(params, meta_batch):
    traced.append(meta_batch.support.mask.shape)
    return meta_loss(params, meta_batch)

  meta_update = state_lib.make_meta_update(
      traced_meta_loss,
      optimizers,
      index=assembly.model.index,
      shardings=shardings,
      mesh=assembly.mesh,
  )
  initial, ran, first_batch = jax.device_get(state), [], None
  for n in range(len(steps)):
    meta_batch = mesh_lib.put_by_task(steps[n].episodes, assembly.mesh)
    ran.append(meta_batch.support.mask.shape)
    state, metrics = meta_update(state, meta_batch)
    if not n:
      first_batch = steps[n].episodes
      first_state = jax.device_get(state)
  return {
      'assembly': assembly,
      'optimizers': optimizers,
      'meta_loss': meta_loss,
      'traced': traced,
      'ran': ran,
      'initial': initial,
      'first_state': first_state,
      'first_batch': first_batch,
      'metrics': metrics,
      'step': int(state.step),
      'info': info,
  }


class MetaUpdateTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.seen = run_two_buckets()

  def test_compiles_once_for_each_bucket(self):
    self.assertCountEqual(set(self.seen['ran']), [(8, 2), (8, 8)])
    self.assertGreater(len(self.seen['ran']), 4)
    # Once to predict what it holds, and once to compile.
    self.assertCountEqual(self.seen['traced'], 2 * [(8, 2), (8, 8)])

  def test_step_counts_completed_updates(self):
    self.assertEqual(self.seen['step'], len(self.seen['ran']))

  def test_every_dense_array_learns(self):
    before = self.seen['initial'].params._replace(tables={})
    after = self.seen['first_state'].params._replace(tables={})
    self.assertNotEmpty(jax.tree.leaves(before))
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), after, before)
    for path, distance in jax.tree_util.tree_leaves_with_path(moved):
      self.assertGreater(distance, 0.0, msg=jax.tree_util.keystr(path))

  def test_table_rows_that_the_batch_does_not_read_stay(self):
    batch = self.seen['first_batch']
    read = np.union1d(
        batch.support.features['item_id'], batch.query.features['item_id']
    )
    read = read[read >= 0]  # Not the padding.
    before = self.seen['initial'].params.tables['dimension_8']
    after = self.seen['first_state'].params.tables['dimension_8']
    moved = np.flatnonzero((before != after).any(axis=1))
    self.assertNotEmpty(np.setdiff1d(np.arange(before.shape[0]), read))
    np.testing.assert_array_equal(moved, read)

  def test_first_update_is_a_plain_step_of_the_optimizers(self):
    before, found = self.seen['initial'], self.seen['first_state']
    index = self.seen['assembly'].model.index
    batch = self.seen['first_batch']
    indexed = batch._replace(
        support=index(batch.support), query=index(batch.query)
    )
    name = 'dimension_8'
    optimizers = self.seen['optimizers']

    @jax.jit
    def plain_step(state):
      gradient, _ = jax.grad(self.seen['meta_loss'], has_aux=True)(
          state.params, indexed
      )
      dense = state.params._replace(tables={})
      updates, dense_state = optimizers.dense.update(
          gradient._replace(tables={}), state.dense_opt_state, dense
      )
      dense = optax.apply_updates(dense, updates)
      table = state.params.tables[name]
      updates, table_state = optimizers.table.update(
          gradient.tables[name], state.table_opt_states[name], table
      )
      table = optax.apply_updates(table, updates)
      return dense, dense_state, table, table_state, gradient.tables[name]

    dense, dense_state, table, table_state, gradient = plain_step(before)
    assert_close = functools.partial(
        chex.assert_trees_all_close, rtol=1e-3, atol=1e-6
    )
    assert_close(found.params._replace(tables={}), dense)
    assert_close(found.dense_opt_state, dense_state)
    # Where nothing is read the moments stay 0, in a dense update as well.
    assert_close(found.table_opt_states[name], table_state)
    read = np.flatnonzero(np.abs(gradient).max(axis=1))
    self.assertGreater(read.size, 5)
    assert_close(found.params.tables[name][read], table[read])

  def test_metrics_are_finite(self):
    metrics = self.seen['metrics']
    chex.assert_shape(metrics.support_losses, (2,))
    chex.assert_tree_all_finite(metrics)
    self.assertGreater(float(metrics.gradient_norm), 0.0)
    self.assertGreater(float(metrics.table_gradient_norm), 0.0)


class MakeStateTest(absltest.TestCase):

  def test_abstract_state_describes_the_real_one(self):
    config = small_run.make_config()
    _, info = small_run.make_data()
    assembly = assembly_lib.assemble(config, info)
    state = run_two_buckets()['initial']
    abstract = assembly_lib.abstract_state(config, assembly)
    chex.assert_trees_all_equal_shapes_and_dtypes(
        jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), abstract),
        jax.tree.map(jnp.asarray, state),
    )


if __name__ == '__main__':
  absltest.main()
