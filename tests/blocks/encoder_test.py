import dataclasses
import functools

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from limaml_jax import types
from limaml_jax.blocks import encoder

_COLOR = types.FeatureSpec('color', 'categorical', 'item', 'global', 4)
_TAGS = types.FeatureSpec('tags', 'multi_hot', 'item', 'global', 6, 3)
_PRICE = types.FeatureSpec(
    'price', 'numeric', 'item', 'global', mean=10.0, std=2.0
)
_SPECS = (_COLOR, _PRICE, _TAGS)
_LAYOUT = encoder.make_layout(_SPECS, max_dimension=4, dimensions={})
# Row r of the only table is [r, r, r, r]; color has rows 0-3, tags 4-9.
_TABLES = {'dimension_4': jnp.repeat(jnp.arange(10.0)[:, None], 4, axis=1)}

index = functools.partial(encoder.index, specs=_SPECS, layout=_LAYOUT)
lookup = functools.partial(encoder.lookup, specs=_SPECS, layout=_LAYOUT)


def make_row(color=1, price=10.0, tags=(-1, -1, -1)):
  return {
      'color': np.asarray(color),
      'price': np.asarray(price),
      'tags': np.asarray(tags),
  }


def encode(**values):
  """Returns the parts of one encoded row: color, price and tags."""
  vector = lookup(_TABLES, index(make_row(**values)))
  return vector[:4], float(vector[4]), vector[5:]


class LookupTest(parameterized.TestCase):

  def test_vector_follows_the_order_of_specs(self):
    color, price, tags = encode(color=2, price=12.0, tags=(1, -1, -1))
    chex.assert_trees_all_equal(color, jnp.full(4, 2.0))
    self.assertEqual(price, 1.0)
    chex.assert_trees_all_equal(tags, jnp.full(4, 5.0))

  @parameterized.parameters(
      ((1, 2, 5), (5 + 6 + 9) / 3),
      ((1, 2, -1), (5 + 6) / 2),
      ((2, -1, -1), 6.0),
      ((-1, 3, -1), 7.0),
      ((2, 2, -1), 6.0),
  )
  def test_multi_hot_is_the_mean_of_present_values(self, tags, expected):
    chex.assert_trees_all_close(encode(tags=tags)[2], jnp.full(4, expected))

  def test_bucket_is_a_row_like_a_category(self):
    spec = dataclasses.replace(_COLOR, kind='bucketized')
    layout = encoder.make_layout([spec], max_dimension=4, dimensions={})
    indexed = encoder.index(
        {'color': np.asarray([3, 0])}, specs=[spec], layout=layout
    )
    np.testing.assert_array_equal(indexed.ids['dimension_4'], [[3], [0]])

  def test_multi_hot_without_values_is_zero(self):
    chex.assert_trees_all_equal(encode(tags=(-1, -1, -1))[2], jnp.zeros(4))

  def test_multi_hot_without_values_has_finite_gradient(self):
    indexed = index(make_row())
    gradient = jax.grad(lambda t: jnp.sum(lookup(t, indexed)))(_TABLES)
    expected = jnp.zeros((10, 4)).at[1].set(1.0)  # The color alone.
    chex.assert_trees_all_equal(gradient['dimension_4'], expected)

  def test_out_of_vocabulary_has_a_row_of_its_own(self):
    color, _, tags = encode(color=0, tags=(0, -1, -1))
    chex.assert_trees_all_equal(color, jnp.full(4, 0.0))
    chex.assert_trees_all_equal(tags, jnp.full(4, 4.0))

  @parameterized.parameters(
      (10.0, 0.0), (8.0, -1.0), (15.0, 2.5), (1e6, 5.0), (-1e6, -5.0)
  )
  def test_numeric_is_standardized_and_clipped(self, price, expected):
    self.assertAlmostEqual(encode(price=price)[1], expected, places=5)

  def test_unknown_number_is_encoded_as_the_mean(self):
    self.assertEqual(encode(price=np.nan)[1], 0.0)

  def test_size_is_what_num_features_says(self):
    vector = lookup(_TABLES, index(make_row()))
    self.assertEqual(encoder.num_features(_SPECS, _LAYOUT), vector.size)

  @parameterized.parameters((), (3,), (2, 3))
  def test_index_takes_any_leading_axes(self, *leading):
    rows = {
        name: np.broadcast_to(value, (*leading, *value.shape))
        for name, value in make_row(color=2, price=12.0).items()
    }
    indexed = index(rows)
    chex.assert_shape(indexed.ids['dimension_4'], (*leading, 4))
    chex.assert_shape(indexed.numeric, (*leading, 1))

  def test_features_without_numbers_index(self):
    specs = (_COLOR,)
    indexed = encoder.index(
        {'color': np.asarray([1, 2])}, specs=specs, layout=_LAYOUT
    )
    vector = jax.vmap(
        functools.partial(encoder.lookup, specs=specs, layout=_LAYOUT),
        in_axes=(None, 0),
    )(_TABLES, indexed)
    chex.assert_trees_all_equal(vector[:, 0], jnp.asarray([1.0, 2.0]))


class LayoutTest(parameterized.TestCase):

  def test_features_of_a_table_share_no_row(self):
    specs = [
        types.FeatureSpec(f'f{n}', 'categorical', 'item', 'global', num_rows)
        for n, num_rows in enumerate((3, 900, 5, 4, 700, 2))
    ]
    layout = encoder.make_layout(specs, max_dimension=16, dimensions={})
    tables = encoder.init_tables(jax.random.key(0), layout, scale=1.0)
    owners = {name: np.zeros(t.shape[0], int) for name, t in tables.items()}
    for spec in specs:
      place = layout[spec.name]
      self.assertEqual(place.num_rows, spec.num_rows)
      owners[place.table][place.offset : place.offset + spec.num_rows] += 1
    self.assertLess(len(tables), len(specs))
    for counts in owners.values():
      np.testing.assert_array_equal(counts, 1)

  def test_features_read_their_own_rows(self):
    color = index(make_row(color=3)).ids['dimension_4']
    tags = index(make_row(tags=(0, 5, -1))).ids['dimension_4']
    np.testing.assert_array_equal(color, [3, -1, -1, -1])
    np.testing.assert_array_equal(tags, [1, 4, 9, -1])

  @parameterized.parameters(
      # 2 V^(1/4), up to a power of 2, at least 4, at most 16.
      (1, 4), (16, 4), (17, 8), (256, 8), (257, 16), (10**6, 16)
  )
  def test_dimension_grows_with_the_vocabulary(self, num_rows, expected):
    spec = types.FeatureSpec('f', 'categorical', 'item', 'global', num_rows)
    layout = encoder.make_layout([spec], max_dimension=16, dimensions={})
    self.assertEqual(layout['f'].dimension, expected)

  def test_dimension_may_be_given(self):
    layout = encoder.make_layout(
        [_COLOR], max_dimension=16, dimensions={'color': 32}
    )
    self.assertEqual(layout['color'].dimension, 32)

  def test_feature_of_both_blocks_has_one_place(self):
    layout = encoder.make_layout(
        [_COLOR, _TAGS, _COLOR], max_dimension=4, dimensions={}
    )
    self.assertEqual(layout, {n: _LAYOUT[n] for n in ('color', 'tags')})

  def test_equal_layouts_have_one_hash(self):
    again = encoder.make_layout(_SPECS, max_dimension=4, dimensions={})
    backwards = encoder.Layout(reversed(_LAYOUT.items()))
    for layout in (again, backwards):
      self.assertEqual(layout, _LAYOUT)
      self.assertEqual(hash(layout), hash(_LAYOUT))

  def test_out_of_vocabulary_rows_alone_start_at_zero(self):
    tables = encoder.init_tables(jax.random.key(0), _LAYOUT, scale=1.0)
    zero = np.flatnonzero(~np.asarray(tables['dimension_4']).any(axis=1))
    np.testing.assert_array_equal(zero, [0, 4])

  def test_tables_divide_over_mesh_rows(self):
    tables = encoder.init_tables(
        jax.random.key(0), _LAYOUT, scale=1.0, rows_multiple=4
    )
    chex.assert_shape(tables['dimension_4'], (12, 4))

  def test_many_rows_are_dealt_to_all_parts_in_turn(self):
    num_rows = 2**16 + 9
    spec = types.FeatureSpec('key', 'categorical', 'item', 'global', num_rows)
    layout = encoder.make_layout([spec], max_dimension=4, dimensions={})
    size = len(
        encoder.init_tables(jax.random.key(0), layout, scale=1.0)['dimension_4']
    )
    keys = np.arange(-1, num_rows)
    indexed = encoder.index({'key': keys}, specs=[spec], layout=layout)
    missing, *rows = np.asarray(indexed.ids['dimension_4'])[:, 0]
    self.assertEqual(missing, -1)
    self.assertLen(set(rows), num_rows)
    self.assertBetween(min(rows), 0, size - 1)
    self.assertBetween(max(rows), 0, size - 1)
    for parts in (2, 8, 4096):
      # As many of the most frequent ones in each.
      counts = np.bincount(np.asarray(rows[:8192]) // (size // parts))
      np.testing.assert_array_equal(counts, [8192 // parts] * parts)

  def test_unknown_rows_of_a_large_table_start_at_zero(self):
    specs = [
        types.FeatureSpec(name, 'categorical', 'item', 'global', num_rows)
        for name, num_rows in (('key', 2**16), ('shop', 100))
    ]
    layout = encoder.make_layout(
        specs, max_dimension=4, dimensions={'shop': 4}
    )
    table = encoder.init_tables(jax.random.key(0), layout, scale=1.0)
    indexed = encoder.index({'key': 0, 'shop': 0}, specs=specs, layout=layout)
    np.testing.assert_array_equal(
        np.flatnonzero(~np.asarray(table['dimension_4']).any(axis=1)),
        np.sort(indexed.ids['dimension_4']),
    )

  def test_many_rows_are_normal_and_the_same_however_they_are_divided(self):
    spec = types.FeatureSpec('key', 'categorical', 'item', 'global', 2**20 + 3)
    layout = encoder.make_layout([spec], max_dimension=4, dimensions={})
    make = lambda seed, multiple: np.asarray(
        encoder.init_tables(
            jax.random.key(seed), layout, scale=0.5, rows_multiple=multiple
        )['dimension_4']
    )
    rows = make(0, 1)
    np.testing.assert_array_equal(make(0, 3)[: len(rows)], rows)
    np.testing.assert_array_equal(rows[0], 0)
    self.assertAlmostEqual(rows.mean(), 0, delta=0.001)
    self.assertAlmostEqual(rows.std(), 0.5, delta=0.001)
    within = (np.abs(rows) < 0.5).mean()  # One standard deviation.
    self.assertAlmostEqual(within, 0.6827, delta=0.001)
    others = {
        'next column': np.roll(rows, 1, axis=1),
        'next row': np.roll(rows, 1, axis=0),
        'other key': make(1, 1),
    }
    for name, other in others.items():
      correlation = np.corrcoef(rows.ravel(), other.ravel())[0, 1]
      self.assertAlmostEqual(correlation, 0, delta=0.002, msg=name)


if __name__ == '__main__':
  absltest.main()
