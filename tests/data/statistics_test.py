from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax.data.tasks import statistics

NAN = np.nan


class MomentsTest(parameterized.TestCase):

  @parameterized.named_parameters(
      # (2 + 3 * 6) / 4 = 5; (9 + 3 * 1) / 4 = 3.
      ('weighted', [2, 6], [1, 3], 5, 3**0.5),
      ('missing', [2, NAN, 4], [1, 5, 1], 3, 1),
      ('only_weightless', [2, 6], [0, 0], 0, 1),
      ('weightless_beside', [2, 4, 90], [1, 1, 0], 3, 1),
      ('all_alike', [7, 7], [1, 1], 7, 1),
      ('nothing', [NAN], [1], 0, 1),
  )
  def test_closed_form(self, values, weights, mean, std):
    found = statistics.moments(
        np.asarray(values, float), np.asarray(weights, float)
    )
    np.testing.assert_allclose(found.mean_and_std, (mean, std))

  def test_parts_merge_to_the_whole(self):
    values = np.random.default_rng(0).normal(3, 2, 100)
    values[::7] = NAN
    found = statistics.NOTHING
    for part in np.split(values, [0, 1, 40, 40, 99]):
      found = statistics.merge(found, statistics.moments(part))
    np.testing.assert_allclose(found, statistics.moments(values), rtol=1e-12)
    np.testing.assert_allclose(
        found.mean_and_std, (np.nanmean(values), np.nanstd(values))
    )


if __name__ == '__main__':
  absltest.main()
