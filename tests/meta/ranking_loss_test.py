import math

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from limaml_jax import types
from limaml_jax.meta import ranking_loss


def make_rows(labels, mask):
  return types.Examples({}, {}, jnp.asarray(labels), jnp.asarray(mask))


def loss(name, logits, labels, mask):
  rows = make_rows(labels, mask)
  return float(ranking_loss.BY_NAME[name](jnp.asarray(logits), rows))


class RankingLossTest(parameterized.TestCase):

  def test_pairwise_is_the_mean_over_pairs(self):
    # The positive is log 3 above one negative, log 7 above the other.
    found = loss(
        'pairwise', [math.log(7), math.log(7 / 3), 0.0], [1.0, 0.0, 0.0],
        [1.0, 1.0, 1.0],
    )  # fmt: skip
    self.assertAlmostEqual(found, (math.log(4 / 3) + math.log(8 / 7)) / 2, 6)

  def test_pairs_count_by_the_product_of_weights(self):
    found = loss(
        'pairwise', [math.log(7), math.log(7 / 3), 0.0], [1.0, 0.0, 0.0],
        [5.0, 1.0, 3.0],
    )  # fmt: skip
    expected = (math.log(4 / 3) + 3 * math.log(8 / 7)) / 4
    self.assertAlmostEqual(found, expected, 6)

  def test_a_pair_of_grades_counts_by_either_order(self):
    # Of .8 and .6 the first is above by .8 * .4, the second by .6 * .2; the
    # first is scored log 3 above the second.
    found = loss('pairwise', [math.log(3), 0.0], [0.8, 0.6], [1.0, 1.0])
    expected = (0.32 * math.log(4 / 3) + 0.12 * math.log(4)) / 0.44
    self.assertAlmostEqual(found, expected, 6)

  def test_listwise_is_minus_the_log_of_softmax(self):
    found = loss(
        'listwise', [math.log(2), math.log(3), 0.0], [1.0, 1.0, 0.0],
        [1.0, 1.0, 1.0],
    )  # fmt: skip
    expected = -(math.log(2 / 6) + math.log(3 / 6)) / 2
    self.assertAlmostEqual(found, expected, 6)

  @parameterized.parameters(*ranking_loss.BY_NAME)
  def test_rows_of_weight_are_rows_again(self, name):
    logits, labels = [0.3, -0.2, 1.1], [1.0, 1.0, 0.0]
    weighed = loss(name, logits, labels, [2.0, 1.0, 3.0])
    again = lambda x: list(np.repeat(x, [2, 1, 3]))
    repeated = loss(name, again(logits), again(labels), [1.0] * 6)
    self.assertAlmostEqual(weighed, repeated, 6)

  @parameterized.parameters(*ranking_loss.BY_NAME)
  def test_level_does_not_matter(self, name):
    rest = ([1.0, 0.0, 1.0], [1.0, 2.0, 1.0])
    low = loss(name, [0.5, 0.25, -1.0], *rest)
    high = loss(name, [8.5, 8.25, 7.0], *rest)
    self.assertGreater(low, 0.1)
    self.assertAlmostEqual(low, high, 5)

  @parameterized.product(
      name=tuple(ranking_loss.BY_NAME),
      rows=(
          ([1.0, 1.0], [1.0, 1.0]),
          ([0.0, 0.0], [1.0, 1.0]),
          ([1.0, 0.0], [1.0, 0.0]),
          ([1.0, 0.0], [0.0, 0.0]),
      ),
  )
  def test_without_both_labels_it_is_0_and_moves_nothing(self, name, rows):
    function = ranking_loss.BY_NAME[name]
    value, gradient = jax.value_and_grad(function)(
        jnp.asarray([0.7, -3.0]), make_rows(*rows)
    )
    self.assertEqual(float(value), 0.0)
    np.testing.assert_array_equal(gradient, 0.0)

  @parameterized.parameters(*ranking_loss.BY_NAME)
  def test_padding_is_invisible(self, name):
    found = loss(name, [0.3, -0.2, 50.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0])
    expected = loss(name, [0.3, -0.2], [1.0, 0.0], [1.0, 1.0])
    self.assertAlmostEqual(found, expected, 6)


if __name__ == '__main__':
  absltest.main()
