"""An ensemble is its members: trained, adapted and scored beside each other."""

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from limaml_jax.blocks import ensemble
from limaml_jax.data import reader as reader_lib
from limaml_jax.refresh import generate
from limaml_jax.training import assembly as assembly_lib
from limaml_jax.training import loop
from limaml_jax.training import mesh as mesh_lib
from limaml_jax.training import state as state_lib
from tests.training import small_run

_SIZE = 3
_SETTINGS = {
    'inner_loop__num_steps': 2,
    'inner_loop__learned_rates': True,
    'model__meta_block__history_width': 4,
    'outer_loop__gradient_clip': 0.02,  # So that it clips each time.
    'outer_loop__weight_decay': 0.1,
}


def member_of(params, number):
  return ensemble.member(params, number, _SIZE)


class EnsembleTest(parameterized.TestCase):

  def prepare(self, size, **settings):
    table, info = small_run.make_data()
    config = small_run.make_config(
        model__ensemble_size=size, **_SETTINGS, **settings
    )
    assembly = assembly_lib.assemble(config, info)
    steps, _ = reader_lib.make_reader(
        table, info, names=assembly.names, config=config
    )
    batches = [
        mesh_lib.put_by_task(steps[n].episodes, assembly.mesh) for n in range(3)
    ]
    return config, assembly, batches

  def start_as(self, config, assembly, params):
    """Returns the state of a network whose parameters are given."""
    optimizers = assembly_lib.make_optimizers(config, num_steps=3)
    tables = {
        name: optimizers.table.init(jnp.asarray(table))
        for name, table in params.tables.items()
    }
    return state_lib.TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        dense_opt_state=optimizers.dense.init(params._replace(tables={})),
        table_opt_states=tables,
    )

  @parameterized.parameters('mlp', 'id_embedding', 'transformer')
  def test_each_member_learns_what_it_would_alone(self, kind):
    settings = {'model__meta_block__kind': kind}
    config, assembly, batches = self.prepare(_SIZE, **settings)
    state, _, update = loop.prepare_update(config, assembly, num_steps=3)
    started = jax.device_get(state.params)
    losses = []
    for batch in batches:
      state, metrics = update(state, batch)
      losses.append(float(metrics.query_loss))

    config, assembly, batches = self.prepare(1, **settings)
    _, _, update = loop.prepare_update(config, assembly, num_steps=3)
    alone = []
    for m in range(_SIZE):
      one = self.start_as(config, assembly, member_of(started, m))
      alone.append([])
      for batch in batches:
        one, metrics = update(one, batch)
        alone[m].append(float(metrics.query_loss))
      ours = member_of(jax.device_get(state.params), m)
      chex.assert_trees_all_close(ours, jax.device_get(one.params), atol=1e-5)
    np.testing.assert_allclose(losses, np.mean(alone, axis=0), rtol=1e-5)
    moved = ours.global_block['last']['kernel']
    self.assertGreater(
        np.abs(moved - member_of(started, m).global_block['last']['kernel'])
        .max(),
        1e-3,
    )  # fmt: skip

  def test_members_start_apart(self):
    config, assembly, _ = self.prepare(_SIZE)
    params = assembly.model.init(jax.random.key(0))
    for name in ('global_block', 'meta_block', 'tables'):
      kernels = [
          jax.tree.leaves(getattr(member_of(params, m), name))[-1]
          for m in range(_SIZE)
      ]
      for m in range(1, _SIZE):
        self.assertFalse(np.allclose(kernels[0], kernels[m]))

  def test_an_embedding_is_those_of_the_members_one_after_another(self):
    table, info = small_run.make_data()
    config, assembly, batches = self.prepare(_SIZE)
    params = assembly.model.init(jax.random.key(1))

    def embed(config, assembly, params):
      embed_chunk = generate.make_embed_chunk(
          assembly.model,
          loss_fn=assembly.loss_fn,
          entity_type=info.entity_type,
          config=config,
      )
      return np.asarray(embed_chunk(params, batches[0].support))

    found = embed(config, assembly, ensemble.divide(params, _SIZE))
    config, assembly, _ = self.prepare(1)
    parts = [
        embed(config, assembly, member_of(params, m)) for m in range(_SIZE)
    ]
    np.testing.assert_allclose(found, np.concatenate(parts, 1), atol=1e-5)

  def test_a_run_goes_on_where_it_stopped(self):
    workdir = self.create_tempdir().full_path
    settings = {'model__ensemble_size': _SIZE}
    small_run.train(workdir, stop_after=4, **settings)
    resumed = small_run.train(workdir, **settings)
    at_once = small_run.train(self.create_tempdir().full_path, **settings)
    chex.assert_trees_all_equal(
        jax.device_get(resumed.params), jax.device_get(at_once.params)
    )


if __name__ == '__main__':
  absltest.main()
