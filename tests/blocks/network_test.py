from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp

from limaml_jax import config as config_lib
from limaml_jax.blocks import global_block
from limaml_jax.blocks import meta_block

_EMBEDDINGS = {'item': jnp.asarray([0.5]), 'user': jnp.asarray([1.0, -2.0])}
_FEATURES = jnp.asarray([3.0, 4.0])


def init(**settings):
  config = config_lib.GlobalBlockConfig(**settings)
  params = global_block.init(
      jax.random.key(0),
      config,
      embedding_sizes={'user': 2, 'item': 1},
      num_features=2,
  )
  return params, config


def score(params, config, factor=1.0):
  """Returns the logit of the row, its features multiplied by `factor`."""
  prepared = global_block.prepare(params, factor * _FEATURES, config=config)
  return global_block.apply(params, _EMBEDDINGS, prepared, config=config)


def shapes(params):
  return {
      '/'.join(key.key for key in path): leaf.shape
      for path, leaf in jax.tree_util.tree_leaves_with_path(params)
  }


class GlobalBlockTest(parameterized.TestCase):

  def test_wide_path_is_linear_in_the_inputs(self):
    params, config = init(widths=(), wide=True)
    params = jax.tree.map(jnp.zeros_like, params)
    weights = jnp.asarray([[10.0], [1.0], [2.0], [3.0], [4.0]])
    params['wide']['kernel'] = weights
    logit = score(params, config)
    # Inputs are item, user, features: 0.5, (1, -2), (3, 4).
    self.assertAlmostEqual(float(logit), 5 + 1 - 4 + 9 + 16, places=4)

  def test_without_wide_path_it_has_no_parameters(self):
    self.assertNotIn('wide', init(wide=False)[0])

  def test_bilinear_path_is_linear_in_either_side(self):
    params, config = init(widths=(), wide=False, bilinear=True)
    params = jax.tree.map(jnp.zeros_like, params)
    kernel = jnp.asarray([[1.0, 10.0, 0.0], [0.0, 0.0, 100.0]])
    params['bilinear']['kernel'] = kernel
    logit = score(params, config)
    # Features (3, 4) make (3, 30, 400), for item and user (0.5, 1, -2).
    self.assertAlmostEqual(float(logit), 1.5 + 30 - 800, places=3)

  def test_without_bilinear_path_it_has_no_parameters(self):
    self.assertNotIn('bilinear', init()[0])

  def test_cross_layer_multiplies_inputs(self):
    params, config = init(widths=(), num_cross_layers=1, wide=False)
    params = jax.tree.map(jnp.zeros_like, params)
    params['cross_0']['kernel'] = jnp.eye(5)
    params['last']['kernel'] = jnp.ones((5, 1))
    logit = score(params, config)
    # Sum of x * x + x for x in (0.5, 1, -2, 3, 4).
    self.assertAlmostEqual(float(logit), 30.25 + 6.5, places=4)

  @parameterized.parameters(0, 1, 2)
  def test_cross_layers_keep_the_inputs_shape(self, num_cross_layers):
    params, config = init(
        widths=(7,), num_cross_layers=num_cross_layers, wide=False
    )
    names = [f'cross_{n}' for n in range(num_cross_layers)]
    kernels = [params[n]['kernel'].shape for n in (*names, 'hidden_0', 'last')]
    expected = [(5, 5)] * num_cross_layers + [(5, 7), (7, 1)]
    self.assertEqual(kernels, expected)
    logit = score(params, config)
    chex.assert_shape(logit, ())

  def test_hidden_layers_are_not_linear(self):
    params, config = init(widths=(3,), wide=False)
    middle = score(params, config)
    ends = (score(params, config, 9.0) + score(params, config, -7.0)) / 2
    self.assertGreater(abs(float(middle - ends)), 1e-3)


class MetaBlockTest(parameterized.TestCase):

  def test_mlp_has_the_widths_asked_for(self):
    config = config_lib.MetaBlockConfig(widths=(3, 4), embedding_size=2)
    params = meta_block.init(jax.random.key(0), config, num_features=5)
    self.assertEqual(
        {n: s for n, s in shapes(params).items() if n.endswith('kernel')},
        {
            'Dense_0/kernel': (5, 3),
            'Dense_1/kernel': (3, 4),
            'Dense_2/kernel': (4, 2),
        },
    )

  def test_mlp_ends_linearly(self):
    config = config_lib.MetaBlockConfig(widths=(), embedding_size=2)
    params = meta_block.init(jax.random.key(0), config, num_features=2)
    params['Dense_0']['kernel'] = jnp.asarray([[1.0, -1.0], [0.0, 2.0]])
    embedding = meta_block.apply(
        params, jnp.asarray([3.0, -1.0]), config=config
    )
    chex.assert_trees_all_close(embedding, jnp.asarray([3.0, -5.0]))

  def test_id_embedding_starts_as_the_row(self):
    config = config_lib.MetaBlockConfig(kind='id_embedding', embedding_size=2)
    params = meta_block.init(jax.random.key(0), config, num_features=2)
    row = jnp.asarray([3.0, -1.0])
    chex.assert_trees_all_equal(
        meta_block.apply(params, row, config=config), row
    )

  def test_id_embedding_adds_a_network_of_the_attributes(self):
    config = config_lib.MetaBlockConfig(
        kind='id_embedding', embedding_size=2, widths=()
    )
    params = meta_block.init(jax.random.key(0), config, num_features=3)
    params = jax.tree.map(jnp.zeros_like, params)
    params['offset'] = jnp.asarray([10.0, 20.0])
    params['_Mlp_0']['Dense_0']['kernel'] = jnp.asarray([[2.0, 3.0]])
    embedding = meta_block.apply(
        params, jnp.asarray([1.0, 2.0, 5.0]), config=config
    )
    # Row [1, 2], offset [10, 20], attribute 5 times [2, 3].
    chex.assert_trees_all_close(embedding, jnp.asarray([21.0, 37.0]))


if __name__ == '__main__':
  absltest.main()
