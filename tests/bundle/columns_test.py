from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax import types
from limaml_jax.bundle import columns as columns_lib

_SPEC = types.FeatureSpec
# In an order that mixes owners and kinds, as a schema may.
_SPECS = (
    _SPEC('hour', 'bucketized', 'context', 'global', 4, boundaries=(1.0, 2.0)),
    _SPEC('age', 'numeric', 'entity', 'both'),
    _SPEC('colors', 'multi_hot', 'item', 'global', 5, 2),
    _SPEC('price', 'numeric', 'item', 'global'),
    _SPEC('city', 'categorical', 'entity', 'both', 4),
    _SPEC('speed', 'numeric', 'context', 'global'),
    _SPEC('item_id', 'categorical', 'item', 'global', 9),
    _SPEC('tags', 'multi_hot', 'entity', 'global', 7, 3),
)
_FEATURES = {
    'hour': np.asarray([3, 1], np.int32),
    'age': np.asarray([40.5, -1.0], np.float32),
    'colors': np.asarray([[4, -1], [1, 2]], np.int32),
    'price': np.asarray([0.25, 7.0], np.float32),
    'city': np.asarray([2, 0], np.int32),
    'speed': np.asarray([1.5, 2.5], np.float32),
    'item_id': np.asarray([8, 3], np.int32),
    'tags': np.asarray([[6, 5, -1], [-1, -1, -1]], np.int32),
}


class ColumnsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.columns = columns_lib.Columns(_SPECS)

  def packed(self, features):
    """Packs two rows owner by owner."""
    rows = self.columns.blank(2)
    for owner in columns_lib.OWNERS:
      records = self.columns.pack(owner, features, 2)
      span = self.columns.spans[owner]
      rows.ids[:, span.ids] = records['ids']
      rows.numbers[:, span.numbers] = records['numbers']
    return rows

  @parameterized.parameters(*_FEATURES)
  def test_what_is_packed_is_unpacked(self, name):
    rows = self.packed(_FEATURES)
    for row in range(2):
      found = self.columns.unpack(rows.ids[row], rows.numbers[row])
      np.testing.assert_array_equal(found[name], _FEATURES[name][row])

  @parameterized.parameters(
      ('hour', 0), ('city', 0), ('item_id', 0), ('age', np.nan),
      ('price', np.nan), ('colors', [-1, -1]), ('tags', [-1, -1, -1]),
  )  # fmt: skip
  def test_what_is_left_out_is_unknown(self, name, unknown):
    rest = {k: v for k, v in _FEATURES.items() if k != name}
    rows = self.packed(rest)
    found = self.columns.unpack(rows.ids[1], rows.numbers[1])
    np.testing.assert_array_equal(found[name], unknown)
    other = 'age' if name != 'age' else 'price'
    np.testing.assert_array_equal(found[other], _FEATURES[other][1])

  def test_features_keep_the_order_of_the_network(self):
    rows = self.columns.blank(1)
    found = self.columns.unpack(rows.ids[0], rows.numbers[0])
    self.assertCountEqual(found, _FEATURES)
    self.assertEqual(self.columns.specs, _SPECS)

  @parameterized.parameters(
      # Columns of the item come first, then the entity's, then the context's.
      ('item', (0, 3), (0, 1)),
      ('entity', (3, 7), (1, 2)),
      ('context', (7, 8), (2, 3)),
  )
  def test_columns_of_an_owner_lie_together(self, owner, ids, numbers):
    span = self.columns.spans[owner]
    self.assertEqual((span.ids.start, span.ids.stop), ids)
    self.assertEqual((span.numbers.start, span.numbers.stop), numbers)

  def test_record_has_a_fixed_layout(self):
    record = self.columns.record('item')
    # Three rows and a number, 4 bytes each, little-endian.
    self.assertEqual(record.itemsize, 16)
    self.assertEqual(record['ids'].base.str, '<i4')
    self.assertEqual(record['numbers'].base.str, '<f4')

  def test_owner_without_features_has_an_empty_record(self):
    columns = columns_lib.Columns(_SPECS[2:4])
    self.assertEqual(columns.record('entity').itemsize, 0)

  def test_rows_of_a_blank_are_their_own(self):
    rows = self.columns.blank(2)
    rows.ids[0] = 1
    np.testing.assert_array_equal(rows.ids[1], self.columns.unknown.ids)


if __name__ == '__main__':
  absltest.main()
