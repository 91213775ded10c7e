from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax import cells
from limaml_jax.data.tasks import bucketing

NAN = np.nan


class QuantilesTest(parameterized.TestCase):

  @parameterized.named_parameters(
      # 0 1 | 2 3 | 4 5 | 6 7.
      ('even', range(8), 4, (2, 4, 6)),
      # Half of the rows are 0, which is never parted from itself.
      ('many_lowest', [0, 0, 0, 0, 1, 2, 3, 4], 4, (1, 3)),
      # Most nearly a quarter, a half and three quarters lie below 9.
      ('many_highest', [1, 9, 9, 9, 9, 9, 9, 9], 4, (9,)),
      # A third of five rows is 1.67: two of them are nearer than one.
      ('uneven', range(5), 3, (2, 3)),
      ('fewer_values_than_buckets', [5, 5, 7], 10, (7,)),
      ('one_value', [5, 5], 4, ()),
      ('nothing', [NAN], 4, ()),
      ('missing', [0, NAN, 1], 2, (1,)),
  )
  def test_part_rows_as_evenly_as_values_allow(self, values, wanted, expected):
    found = bucketing.count(np.asarray(values, float))
    self.assertEqual(bucketing.quantiles(found, wanted), expected)

  def test_rows_count_by_their_weight(self):
    # 1 stands for six rows of ten, 2 and 3 for two each, 4 for none.
    values, weights = np.arange(1.0, 5.0), np.asarray([6, 2, 2, 0])
    found = bucketing.count(values, weights)
    self.assertEqual(bucketing.quantiles(found, 2), (2.0,))
    self.assertEqual(bucketing.quantiles(found, 10), (2.0, 3.0))

  def test_neither_order_nor_parts_matter(self):
    values = np.random.default_rng(0).normal(size=1000).round(2)
    whole = bucketing.quantiles(bucketing.count(values), 7)
    shuffled = np.random.default_rng(1).permutation(values)
    parts = np.split(shuffled, [0, 1, 400, 990])
    merged = bucketing.merge([bucketing.count(part) for part in parts])
    self.assertEqual(bucketing.quantiles(merged, 7), whole)
    shares = np.bincount(cells.bucket_rows(values, whole)) / values.size
    np.testing.assert_allclose(shares[1:], 1 / 7, atol=0.01)

  def test_nothing_merges_to_nothing(self):
    self.assertEqual(bucketing.quantiles(bucketing.merge([]), 4), ())


class RowsTest(absltest.TestCase):

  def test_boundary_is_the_least_value_of_the_bucket_above(self):
    found = cells.bucket_rows(np.asarray([17.9, 18, 34, 35, 99, -1]), (18, 35))
    np.testing.assert_array_equal(found, [1, 2, 2, 3, 3, 1])

  def test_empty_cells_have_row_0(self):
    np.testing.assert_array_equal(
        cells.bucket_rows(np.asarray([NAN, 5]), (18,)), [0, 1]
    )

  def test_compares_as_stored_in_32_bits(self):
    stored = np.asarray([0.1], np.float32)
    for values in (stored, np.asarray([0.1])):
      for boundary in (0.1, float(stored[0])):
        found = cells.bucket_rows(values, [boundary])
        np.testing.assert_array_equal(found, [2])


if __name__ == '__main__':
  absltest.main()
