from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp

from limaml_jax.meta import microbatches
from tests.meta import small_network


class MakeMetaGradientTest(parameterized.TestCase):

  @parameterized.parameters(2, 3, 6)
  def test_microbatches_add_up_to_the_meta_batch(self, num_microbatches):
    config = small_network.make_config()
    params = small_network.make_params(config)
    batch = small_network.make_meta_batch(config, num_tasks=6)
    # Weights differ from microbatch to microbatch; one has no weight at all.
    weight = jnp.asarray([1.0, 0.0, 2.0, 0.5, 0.0, 4.0])
    batch = batch._replace(weight=weight)
    meta_loss = small_network.make_meta_loss(config)
    compute = lambda n: jax.jit(
        microbatches.make_meta_gradient(meta_loss, num_microbatches=n)
    )(params, batch)
    chex.assert_trees_all_close(
        compute(num_microbatches), compute(1), rtol=1e-5, atol=1e-7
    )


class ChooseNumberTest(parameterized.TestCase):

  @parameterized.parameters(
      (110, 1),
      (109, 2),
      (59, 3),
      (30, 6),  # 5 would hold 30, but does not divide 12.
      (18, 12),
      (1, 12),  # Nothing smaller than a task.
  )
  def test_is_the_smallest_divisor_that_keeps_to_the_budget(
      self, budget, expected
  ):
    # 10 bytes do not shrink.
    found = microbatches.choose_number(
        12, lambda number: 10 + 100 // number, budget_bytes=budget
    )
    self.assertEqual(found, expected)

  @parameterized.parameters((110, 1), (109, 2), (55, 2), (54, 3), (1, 12))
  def test_near_the_budget_is_by_what_the_whole_holds(self, budget, expected):
    found = microbatches.choose_near(12, 110, budget_bytes=budget)
    self.assertEqual(found, expected)


if __name__ == '__main__':
  absltest.main()
