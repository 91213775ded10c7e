import functools

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax import overrides
from limaml_jax import types
from limaml_jax.blocks import fingerprint as fingerprint_lib
from limaml_jax.blocks import model as model_lib
from limaml_jax.training import table_rows

_SPECS = (
    types.FeatureSpec('user_id', 'categorical', 'entity', 'meta', 7),
    types.FeatureSpec('city', 'categorical', 'entity', 'both', 4),
    types.FeatureSpec('age', 'numeric', 'entity', 'meta'),
    types.FeatureSpec('item_id', 'categorical', 'item', 'global', 3000),
    types.FeatureSpec('tags', 'multi_hot', 'item', 'global', 6, 2),
)


def make_model(specs=_SPECS, **settings):
  config = overrides.override(
      config_lib.Config(),
      {
          'model.meta_block.widths': (3,),
          'model.meta_block.embedding_size': 4,
          'model.global_block.widths': (3,),
      }
      | settings,
  )
  return model_lib.make_model(
      config, specs=specs, entity_type='user', entity_feature='user_id'
  )


@functools.cache
def make_params():
  model = make_model(**{'model.meta_block.kind': 'id_embedding'})
  shapes = jax.eval_shape(model.init, jax.random.key(0))
  rng = np.random.default_rng(0)
  normal = lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype)
  return jax.tree.map(normal, shapes)


def make_episode(index):
  """Returns one indexed episode of 3 support rows and 2 query rows."""

  def examples(size):
    rng = np.random.default_rng(size)
    city = rng.integers(0, 4, 1)
    return index(
        types.Examples(
            meta_features={
                'user': {
                    'user_id': np.asarray([5]),
                    'city': city,
                    'age': np.asarray([0.3]),
                }
            },
            features={
                'city': np.repeat(city, size),
                'item_id': rng.integers(0, 3000, size),
                'tags': rng.integers(-1, 6, (size, 2)),
            },
            labels=np.zeros(size),
            mask=np.ones(size),
        )
    )

  return types.Episode(examples(3), examples(2), jnp.ones(()))


class SelectionTest(absltest.TestCase):

  def test_mlp_does_not_see_the_id(self):
    names = [spec.name for spec in make_model().meta_specs]
    self.assertEqual(names, ['city', 'age'])

  def test_id_embedding_reads_the_id_first(self):
    model = make_model(
        specs=_SPECS[::-1], **{'model.meta_block.kind': 'id_embedding'}
    )
    names = [spec.name for spec in model.meta_specs]
    self.assertEqual(names, ['user_id', 'age', 'city'])

  def test_global_block_reads_global_and_both(self):
    names = [spec.name for spec in make_model().global_specs]
    self.assertEqual(names, ['city', 'item_id', 'tags'])

  def test_mlp_without_a_feature_to_read_is_refused(self):
    with self.assertRaisesRegex(errors.InputError, 'id_embedding'):
      make_model(specs=[_SPECS[0], *_SPECS[3:]])


class HistoryTest(parameterized.TestCase):

  @parameterized.parameters('deep_sets', 'transformer')
  def test_needs_no_feature_of_the_entity(self, kind):
    model = make_model(
        specs=[_SPECS[0], *_SPECS[3:]], **{'model.meta_block.kind': kind}
    )
    self.assertEmpty(model.meta_specs)
    examples = types.Examples(
        meta_features={'user': {}},
        features={
            'item_id': np.asarray([[4, 5, 6]]),
            'tags': np.zeros((1, 3, 2), int),
        },
        labels=np.ones((1, 3)),
        mask=np.ones((1, 3)),
    )
    params = jax.eval_shape(model.init, jax.random.key(0))
    encoded = jax.eval_shape(
        lambda params, examples: jax.vmap(model.encode, in_axes=(None, 0))(
            params, model.index(examples)
        ),
        params,
        examples,
    )
    # A summary of 32 numbers and a count, for the embedding and each row.
    chex.assert_shape(encoded.meta_features['user'], (1, 4, 33))

  def test_initial_parameters_of_both_halves_are_those_without_it(self):
    key = jax.random.key(0)
    one, other = (
        jax.jit(make_model(**{'model.meta_block.kind': kind}).init)(key)
        for kind in ('mlp', 'transformer')
    )
    self.assertEmpty(one.history)
    chex.assert_trees_all_equal(other.global_block, one.global_block)
    chex.assert_trees_all_equal(other.tables, one.tables)


class EncodeTest(absltest.TestCase):

  def test_gathered_rows_mean_the_same_as_whole_tables(self):
    model = make_model(**{'model.meta_block.kind': 'id_embedding'})
    params = make_params()
    # One table is gathered whole, the other by its distinct rows.
    self.assertLen(params.tables, 2)
    episode = make_episode(model.index)
    gathered = jax.jit(table_rows.gather)(params.tables, episode)
    encode = jax.jit(model.encode)
    expected = encode(params, episode.support)
    found = encode(
        params._replace(tables=gathered.rows), gathered.episodes.support
    )
    chex.assert_shape(expected.features.features, (3, 4 + 16 + 4))
    chex.assert_trees_all_equal(found, expected)


class InitTest(parameterized.TestCase):

  def test_fixed_rates_are_not_parameters(self):
    model = make_model()
    params = jax.eval_shape(model.init, jax.random.key(0))
    self.assertEmpty(params.inner_rates)

  def test_learned_rates_start_at_the_fixed_one(self):
    model = make_model(**{
        'inner_loop.learned_rates': True,
        'inner_loop.learning_rate': 0.5,
        'inner_loop.num_steps': 3,
    })
    key = jax.random.key(0)
    structure = jax.tree.structure(jax.eval_shape(model.init, key).meta_block)
    inner_rates = jax.jit(lambda key: model.init(key).inner_rates)(key)
    self.assertEqual(jax.tree.structure(inner_rates), structure)
    for leaf in jax.tree.leaves(inner_rates):
      chex.assert_trees_all_close(jnp.exp(leaf), jnp.full(3, 0.5))


class FingerprintTest(parameterized.TestCase):

  def compute(self, params, structure='structure', data='data'):
    return fingerprint_lib.fingerprint(
        params.global_block, params.tables, structure, data
    )

  def test_is_a_function_of_the_model(self):
    params = make_params()
    copy = jax.tree.map(jnp.copy, params)
    self.assertEqual(self.compute(copy), self.compute(params))

  @parameterized.parameters('global_block', 'tables')
  def test_changes_with_every_array_of_the(self, part):
    params = make_params()
    found = {self.compute(params)}
    leaves, structure = jax.tree.flatten(getattr(params, part))
    for n, leaf in enumerate(leaves):
      nudged = leaf.ravel().at[-1].add(1e-3).reshape(leaf.shape)
      changed = [*leaves[:n], nudged, *leaves[n + 1 :]]
      tree = jax.tree.unflatten(structure, changed)
      found.add(self.compute(params._replace(**{part: tree})))
    self.assertLen(found, len(leaves) + 1)

  def test_changes_with_the_name_of_an_array(self):
    params = make_params()
    block = dict(params.global_block)
    block['renamed'] = block.pop('last')
    renamed = params._replace(global_block=block)
    self.assertNotEqual(self.compute(renamed), self.compute(params))

  def test_changes_with_the_structure(self):
    layout = make_model().layout
    moved = layout | {'tags': layout['tags']._replace(offset=99)}
    params = make_params()
    self.assertNotEqual(
        self.compute(params, structure=moved),
        self.compute(params, structure=layout),
    )

  def test_changes_with_the_dataset(self):
    params = make_params()
    self.assertNotEqual(
        self.compute(params, data='other'), self.compute(params)
    )


if __name__ == '__main__':
  absltest.main()
