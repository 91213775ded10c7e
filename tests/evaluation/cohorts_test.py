"""Tests for cohorts."""

from absl.testing import absltest
import numpy as np

from limaml_jax.evaluation import cohorts


class CohortsTest(absltest.TestCase):

  def test_limits_belong_to_the_cohort_they_name(self):
    sizes = np.array([0, 1, 5, 6, 20, 21, 10_000])
    names = [cohorts.COHORTS[i] for i in cohorts.cohort_indices(sizes)]
    self.assertEqual(
        names, ['0', '1-5', '1-5', '6-20', '6-20', '21+', '21+']
    )

  def test_every_row_is_in_one_cohort(self):
    masks = cohorts.masks(np.arange(50))
    self.assertEqual(tuple(masks), cohorts.COHORTS)
    np.testing.assert_array_equal(sum(map(np.int64, masks.values())), 1)

  def test_mask_marks_its_rows(self):
    masks = cohorts.masks(np.array([3, 0, 40, 4]))
    np.testing.assert_array_equal(masks['1-5'], [True, False, False, True])


if __name__ == '__main__':
  absltest.main()
