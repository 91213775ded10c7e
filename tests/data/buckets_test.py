from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax.data import buckets


class ChooseTest(parameterized.TestCase):

  @parameterized.parameters(
      # Sizes of 3 padded to 3 instead of 8 save most.
      ([0, 3, 3, 3, 7, 8], 2, (3, 8)),
      # Then 7, for one row of one task; then 1, for the empty task's two.
      ([0, 3, 3, 3, 7, 8], 3, (1, 3, 8)),
      ([0, 3, 3, 3, 7, 8], 4, (1, 3, 7, 8)),
      # Nothing is left to save.
      ([0, 3, 3, 3, 7, 8], 9, (1, 3, 7, 8)),
      ([8, 8], 3, (8,)),
      ([0, 0], 2, (1, 8)),
      ([], 2, (8,)),
  )
  def test_adds_what_saves_most_padding(self, sizes, num_buckets, expected):
    found = buckets.choose(np.asarray(sizes, int), (8,), num_buckets)
    self.assertEqual(found, expected)

  def test_is_the_best_single_bucket_there_is(self):
    sizes = np.random.default_rng(0).integers(0, 20, 300) ** 2 // 20
    (extra, _) = buckets.choose(sizes, (20,), 2)
    shares = {
        n: buckets.padding_share(sizes, (n, 20)) for n in range(1, 20)
    }
    self.assertEqual(extra, min(shares, key=shares.get))

  def test_buckets_that_are_given_stay(self):
    sizes = np.asarray([1, 1, 1, 5])
    self.assertEqual(buckets.choose(sizes, (4, 8), 3), (1, 4, 8))
    self.assertEqual(buckets.choose(sizes, (4, 8), 1), (4, 8))


class PaddingTest(absltest.TestCase):

  def test_tasks_go_to_the_smallest_bucket_that_holds_them(self):
    padded = buckets.pad_to(np.asarray([0, 2, 3, 8]), (2, 8))
    np.testing.assert_array_equal(padded, [2, 2, 8, 8])

  def test_share_is_of_all_padded_rows(self):
    # 2 + 2 + 8 rows, of which 0 + 2 + 5 are real.
    share = buckets.padding_share(np.asarray([0, 2, 5]), (2, 8))
    self.assertAlmostEqual(share, 5 / 12)

  def test_no_tasks_have_no_padding(self):
    self.assertEqual(buckets.padding_share(np.zeros(0, int), (8,)), 0.0)


if __name__ == '__main__':
  absltest.main()
