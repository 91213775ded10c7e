from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from limaml_jax import config as config_lib
from limaml_jax.blocks import history

_KINDS = ('deep_sets', 'transformer')
_NUM_ROWS = 5
_NUM_FEATURES = 3


_apply = jax.jit(history.apply, static_argnames='config')


def make_config(kind, **settings):
  settings = {'history_layers': 2} | settings
  return config_lib.MetaBlockConfig(kind=kind, history_width=4, **settings)


def make_params(config):
  shapes = jax.eval_shape(
      lambda key: history.init(key, config, num_features=_NUM_FEATURES),
      jax.random.key(0),
  )
  rng = np.random.default_rng(0)
  normal = lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype)
  return jax.tree.map(normal, shapes)


def make_task(num_rows=_NUM_ROWS):
  """Returns rows, labels and weights."""
  rng = np.random.default_rng(1)
  return (
      rng.normal(size=(num_rows, _NUM_FEATURES)).astype(np.float32),
      (np.arange(num_rows) % 2).astype(np.float32),
      np.asarray([1.0, 2.0, 0.5, 1.0, 1.0], np.float32)[:num_rows],
  )


def sum_up(config, rows, labels, weights):
  return np.asarray(
      _apply(make_params(config), rows, labels, weights, config=config)
  )


class ApplyTest(parameterized.TestCase):

  @parameterized.product(
      kind=_KINDS, row=(0, 1, 2, 3, 4), what=('rows', 'labels', 'weights')
  )
  def test_a_row_is_known_to_later_prefixes_alone(self, kind, row, what):
    config = make_config(kind)
    before = dict(zip(('rows', 'labels', 'weights'), make_task(), strict=True))
    after = {name: values.copy() for name, values in before.items()}
    after[what][row] = 1 - after[what][row] if what == 'labels' else 7.0
    found, expected = sum_up(config, **after), sum_up(config, **before)
    np.testing.assert_array_equal(found[: row + 1], expected[: row + 1])
    # The mean of one row alone is the same whatever it weighs.
    unchanged = np.all(np.abs(found - expected)[row + 1 :] < 1e-4, axis=1)
    self.assertFalse(unchanged.any())

  @parameterized.parameters(*_KINDS)
  def test_padding_is_invisible(self, kind):
    config = make_config(kind)
    rows, labels, weights = make_task()
    expected = sum_up(config, rows, labels, weights)
    loud = sum_up(
        config,
        np.insert(rows, [0, 3, 5, 5], 50.0, axis=0),
        np.insert(labels, [0, 3, 5, 5], 7.0),
        np.insert(weights, [0, 3, 5, 5], 0.0),
    )
    # Prefixes that end with a real row: 0 and 3 have padding in front.
    np.testing.assert_allclose(
        loud[[0, 2, 3, 4, 6, 7]], expected, rtol=1e-4, atol=1e-4
    )

  @parameterized.parameters(*_KINDS)
  def test_a_row_of_weight_2_counts_like_two(self, kind):
    # In one layer: of two rows in more, the first does not know the second.
    config = make_config(kind, history_layers=1)
    params = make_params(config)
    for name in params:
      if name.startswith('_Attention'):  # Two rows would lie farther back.
        params[name]['distance'] = jnp.zeros_like(params[name]['distance'])
    rows, labels, _ = make_task()
    weights = jnp.ones(_NUM_ROWS)
    heavy = _apply(
        params, rows, labels, weights.at[1].set(2.0), config=config
    )
    twice = [0, 1, 1, 2, 3, 4]
    expected = _apply(
        params, rows[twice], labels[twice], jnp.ones(6), config=config
    )
    chex.assert_trees_all_close(heavy[2:], expected[3:], rtol=1e-4, atol=1e-5)

  @parameterized.parameters(('deep_sets', False), ('transformer', True))
  def test_order_matters_to(self, kind, matters):
    # In one layer, by the distances alone.
    config = make_config(kind, history_layers=1)
    rows, labels, _ = make_task()
    order = [0, 2, 1, 3, 4]
    ones = np.ones(_NUM_ROWS, np.float32)
    found = sum_up(config, rows[order], labels[order], ones)[-1]
    expected = sum_up(config, rows, labels, ones)[-1]
    self.assertEqual(np.abs(found - expected).max() > 1e-3, matters)

  @parameterized.parameters(*_KINDS)
  def test_has_a_finite_gradient_without_any_real_row(self, kind):
    config = make_config(kind)
    rows, labels, weights = make_task()

    def total(params):
      return jnp.sum(
          history.apply(params, rows, labels, 0 * weights, config=config)
      )

    gradient = jax.jit(jax.grad(total))(make_params(config))
    chex.assert_tree_all_finite(gradient)

  @parameterized.parameters(*_KINDS)
  def test_is_of_the_size_it_says_in_float32(self, kind):
    config = make_config(kind, compute_dtype='bfloat16')
    coarse = sum_up(config, *make_task())
    exact = sum_up(make_config(kind), *make_task())
    chex.assert_shape(coarse, (1 + _NUM_ROWS, history.summary_size(config)))
    self.assertEqual(coarse.dtype, np.float32)
    self.assertBetween(np.abs(coarse - exact).max(), 1e-4, 0.2)

  def test_deep_sets_are_a_mean_by_weight_and_a_count(self):
    config = config_lib.MetaBlockConfig(kind='deep_sets', history_width=1)
    rows = jnp.asarray([[2.0], [5.0], [-3.0]])
    kernel = jnp.asarray([[10.0], [1.0], [4.0]])
    params = {'Dense_0': {'kernel': kernel, 'bias': jnp.zeros(1)}}
    found = history.apply(
        params,
        rows,
        jnp.asarray([1.0, 0.0, 0.0]),
        jnp.asarray([1.0, 3.0, 1.0]),
        config=config,
    )
    # Of label 1: 10 x 2 + 4; of label 0: 5, and relu(-3).
    means = [0.0, 24.0, (24 + 3 * 5) / 4, (24 + 3 * 5 + 0) / 5]
    counts = np.log1p([0.0, 1.0, 4.0, 5.0])
    expected = np.stack([means, counts], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


class PrefixesTest(absltest.TestCase):

  def test_ends_before_the_row_and_after_the_last_real_one(self):
    lengths = history.prefixes(jnp.asarray([1.0, 2.0, 0.5, 0.0]), None)
    np.testing.assert_array_equal(lengths, [3, 0, 1, 2, 3])

  def test_is_empty_without_any_real_row(self):
    self.assertEqual(history.prefixes(jnp.zeros(3), None)[0], 0)

  def test_rows_of_the_same_time_do_not_know_of_each_other(self):
    ages = jnp.asarray([9, 5, 5, 5, 0, 0])
    lengths = history.prefixes(jnp.ones(6), ages)
    np.testing.assert_array_equal(lengths, [6, 0, 1, 1, 1, 4, 4])


class AppendTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.summaries = jnp.asarray([[0.0], [1.0], [2.0], [3.0]])
    self.lengths = jnp.asarray([2, 0, 1, 2])

  def test_an_entity_has_its_features_beside_each_summary(self):
    found = history.append(
        jnp.asarray([[7.0, 8.0]]), self.summaries, self.lengths
    )
    expected = [[7, 8, 2], [7, 8, 0], [7, 8, 1], [7, 8, 2]]
    np.testing.assert_array_equal(found, expected)

  def test_the_embedding_has_the_features_of_the_latest_row(self):
    features = jnp.asarray([[10.0], [20.0], [30.0]])
    found = history.append(features, self.summaries, self.lengths)
    np.testing.assert_array_equal(found, [[20, 2], [10, 0], [20, 1], [30, 2]])

  def test_without_a_row_it_has_the_features_of_the_first(self):
    features = jnp.asarray([[10.0], [20.0], [30.0]])
    found = history.append(
        features, self.summaries, jnp.asarray([0, 0, 1, 2])
    )
    np.testing.assert_array_equal(found[0], [10, 0])


if __name__ == '__main__':
  absltest.main()
