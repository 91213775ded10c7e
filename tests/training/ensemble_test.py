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
from limaml_jax.training import checkpoint
from limaml_jax.training import judge as judge_lib
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

  @parameterized.parameters(
      # One task at a time.
      {'kind': 'mlp', 'training__memory_budget_bytes': 1},
      {'kind': 'id_embedding', 'outer_loop__ranking_weight': 0.5},
      {'kind': 'deep_sets'},
  )
  def test_each_member_learns_what_it_would_alone(self, kind, **settings):
    settings['model__meta_block__kind'] = kind
    config, assembly, batches = self.prepare(_SIZE, **settings)
    state, _, update = loop.prepare_update(config, assembly, num_steps=3)
    started = jax.device_get(state.params)
    found = []
    for batch in batches:
      state, metrics = update(state, batch)
      found.append(metrics)

    config, assembly, batches = self.prepare(1, **settings)
    _, _, update = loop.prepare_update(config, assembly, num_steps=3)
    alone = []
    for m in range(_SIZE):
      one = self.start_as(config, assembly, member_of(started, m))
      alone.append([])
      for batch in batches:
        one, metrics = update(one, batch)
        alone[m].append(metrics)
      ours = member_of(jax.device_get(state.params), m)
      chex.assert_trees_all_close(ours, jax.device_get(one.params), atol=1e-5)
    kernels = [
        member_of(params, m).global_block['last']['kernel']
        for params in (started, jax.device_get(state.params))
    ]
    self.assertGreater(np.abs(kernels[0] - kernels[1]).max(), 1e-3)
    self.check_metrics(found, alone)

  def check_metrics(self, found, alone):
    """Compares those of each step with those of each member's steps."""
    of = lambda name, some: np.array([float(getattr(m, name)) for m in some])
    by_member = lambda name: np.array([of(name, steps) for steps in alone])
    np.testing.assert_allclose(
        of('query_loss', found), by_member('query_loss').mean(0), rtol=1e-5
    )
    np.testing.assert_allclose(
        of('meta_loss', found), by_member('meta_loss').sum(0), rtol=1e-5
    )
    for name in ('gradient_norm', 'table_gradient_norm'):
      squares = np.square(by_member(name)).sum(0)
      np.testing.assert_allclose(of(name, found) ** 2, squares, rtol=1e-3)
    # Clipped, each by itself.
    clip = _SETTINGS['outer_loop__gradient_clip']
    self.assertGreater(by_member('gradient_norm').min(), clip)

  def test_members_start_as_networks_of_keys_of_their_own(self):
    _, assembly, _ = self.prepare(_SIZE)
    _, alone, _ = self.prepare(1)
    key = jax.random.key(0)
    params = assembly.model.init(key)
    starts = [alone.model.init(k) for k in jax.random.split(key, _SIZE)]
    for m, expected in enumerate(starts):
      chex.assert_trees_all_close(member_of(params, m), expected, atol=1e-6)
    with self.assertRaises(AssertionError):
      chex.assert_trees_all_close(starts[0], starts[1], atol=1e-2)

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

  def test_what_is_recorded_is_as_of_one_member(self):
    workdir = self.create_tempdir().full_path
    small_run.train(workdir, stop_after=1, model__ensemble_size=_SIZE)
    recorded = small_run.read_losses(workdir)[0]
    config = small_run.make_config(model__ensemble_size=_SIZE)
    _, info = small_run.make_data()
    assembly = assembly_lib.assemble(config, info)
    state, _, update = loop.prepare_update(config, assembly, num_steps=3)
    _, _, batches = self.prepare(_SIZE)
    _, metrics = update(state, batches[0])
    for name, share in (
        ('meta_loss', _SIZE),
        ('query_loss', 1),
        ('gradient_norm', _SIZE**0.5),
        ('table_gradient_norm', _SIZE**0.5),
    ):
      expected = float(getattr(metrics, name)) / share
      self.assertAlmostEqual(recorded[name], expected, places=4, msg=name)

  def test_a_holdout_judges_by_the_mean_over_members(self):
    def judge(size, choose):
      config, assembly, _ = self.prepare(
          size, outer_loop__holdout_fraction=0.3
      )
      state, shardings, _ = loop.prepare_update(config, assembly, num_steps=3)
      table, info = small_run.make_data()
      judge_fn = judge_lib.make(
          config, table, info, assembly=assembly, shardings=shardings.params
      )
      return judge_fn(choose(state.params))[checkpoint.HOLDOUT_LOSS]

    chosen = []
    found = judge(_SIZE, lambda params: chosen.append(params) or params)
    alone = [
        judge(1, lambda _, m=m: member_of(chosen[0], m)) for m in range(_SIZE)
    ]
    self.assertGreater(np.std(alone), 1e-4)
    self.assertAlmostEqual(found, np.mean(alone), places=5)

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
