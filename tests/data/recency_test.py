from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax import config as config_lib
from limaml_jax.data import recency

_DAY = 86400


class DecayTest(parameterized.TestCase):

  def decay(self, **half_lives):
    # The last row of the second task is padding, the third task has none real.
    ages = _DAY * np.asarray([[6, 2, 0], [2, 0, 0], [0, 0, 0]])
    real = np.asarray([[1, 1, 1], [1, 1, 0], [0, 0, 0]], bool)
    return recency.decay(ages, real, recency.HalfLives(**half_lives))

  def test_a_half_life_of_days_halves(self):
    expected = [[1 / 8, 1 / 2, 1], [1 / 2, 1, 1], [1, 1, 1]]
    np.testing.assert_allclose(self.decay(days=2.0), expected)

  def test_a_half_life_of_events_halves(self):
    expected = [[1 / 4, 1 / 2, 1], [1 / 2, 1, 1], [1, 1, 1]]
    np.testing.assert_allclose(self.decay(events=1.0), expected)

  def test_both_multiply(self):
    np.testing.assert_allclose(
        self.decay(days=2.0, events=1.0),
        self.decay(days=2.0) * self.decay(events=1.0),
    )

  def test_none_leaves_all_alike(self):
    np.testing.assert_array_equal(self.decay(), 1.0)

  def test_a_real_row_never_becomes_padding(self):
    found = self.decay(days=1e-3)
    self.assertGreater(np.min(found), 0.0)

  def test_half_lives_are_those_of_the_settings(self):
    config = config_lib.EpisodeConfig(
        support_half_life_days=3.0, support_half_life_events=5.0
    )
    self.assertEqual(
        recency.half_lives(config), recency.HalfLives(days=3.0, events=5.0)
    )


if __name__ == '__main__':
  absltest.main()
