from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax.data.tasks import statistics

NAN = np.nan


class MeanAndStdTest(parameterized.TestCase):

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
    actual = statistics.mean_and_std(
        np.asarray(values, float), np.asarray(weights, float)
    )
    np.testing.assert_allclose(actual, (mean, std))


if __name__ == '__main__':
  absltest.main()
