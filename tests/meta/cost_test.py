from absl.testing import absltest
from absl.testing import parameterized

from limaml_jax.meta import cost

_WIDE = cost.Layer(num_rows=1, num_inputs=512, num_outputs=256)
# As many rows as the layer is wide: factors are no thinner than the kernel.
_MANY_ROWS = cost.Layer(num_rows=64, num_inputs=16, num_outputs=16)


def choose(implementation, num_steps=1, refused=None, **layers):
  return cost.choose(
      layers,
      refused=refused or {},
      num_steps=num_steps,
      implementation=implementation,
  )


class CostTest(parameterized.TestCase):

  def test_plain_counts_three_products_and_an_update(self):
    layer = cost.Layer(num_rows=2, num_inputs=3, num_outputs=5)
    # 3 * 15 kernel elements * (6 * 2 + 2) operations, and * 20 bytes.
    self.assertEqual(cost.plain_cost(layer, 1), cost.Cost(630, 900))

  def test_plain_repeats_with_each_step(self):
    one, four = cost.plain_cost(_WIDE, 1), cost.plain_cost(_WIDE, 4)
    self.assertEqual(four, cost.Cost(4 * one.flops, 4 * one.bytes))

  def test_low_rank_counts_shared_products_and_pairs(self):
    layer = cost.Layer(num_rows=2, num_inputs=3, num_outputs=5)
    # K = 2: 1 + 2 pairs. 3 * (4*2*2*15 + 4*3*4*8) operations;
    # 3 * 8 * 3 * 2 * 8 bytes.
    self.assertEqual(cost.low_rank_cost(layer, 2), cost.Cost(1872, 1152))

  @parameterized.parameters(1, 5, 10)
  def test_auto_takes_factors_for_one_row(self, num_steps):
    plan = choose('auto', num_steps, wide=_WIDE)
    self.assertEqual(plan.low_rank, {'wide': 1})
    self.assertLess(plan.low_rank_cost.time, plan.plain_cost.time / 10)

  def test_auto_keeps_kernels_that_are_no_wider_than_their_factors(self):
    plan = choose('auto', 5, wide=_WIDE, many=_MANY_ROWS)
    self.assertEqual(plan.low_rank, {'wide': 1})
    expected = [
        cost.low_rank_cost(_WIDE, 5).flops,
        cost.plain_cost(_MANY_ROWS, 5).flops,
    ]
    self.assertEqual(plan.low_rank_cost.flops, sum(expected))

  def test_low_rank_takes_factors_whatever_they_cost(self):
    plan = choose('low_rank', 5, wide=_WIDE, many=_MANY_ROWS)
    self.assertEqual(plan.low_rank, {'wide': 1, 'many': 64})

  def test_plain_takes_none(self):
    plan = choose('plain', 5, wide=_WIDE)
    self.assertEmpty(plan.low_rank)
    self.assertEqual(plan.low_rank_cost, plan.plain_cost)

  def test_description_names_the_choice_and_what_cannot_be_had(self):
    text = cost.describe(choose('auto', wide=_WIDE, refused={'w': 'is odd'}))
    self.assertIn('adapts by factors: wide', text)
    self.assertIn('plain, as w is odd', text)
    self.assertIn('by factors: none', cost.describe(choose('auto')))


if __name__ == '__main__':
  absltest.main()
