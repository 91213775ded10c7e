import functools

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from limaml_jax.linear import relu_stack
from limaml_jax.training import program


def make_layers(widths, seed=0):
  rng = np.random.default_rng(seed)
  return [
      relu_stack.Layer(
          kernel=jnp.asarray(rng.normal(size=(n_in, n_out))),
          bias=jnp.asarray(rng.normal(size=n_out)),
      )
      for n_in, n_out in zip(widths[:-1], widths[1:], strict=True)
  ]


def make_rows(width, num_rows=5):
  return jnp.asarray(np.random.default_rng(1).normal(size=(num_rows, width)))


def adapted_loss(stack, shift, layers, rows):
  """Descends on a shift of the rows, and returns the loss after it."""

  def loss(shift):
    logits = jax.vmap(lambda row: stack(row + shift, layers))(rows)
    return jnp.mean(jnp.logaddexp(0, logits) - 0.3 * logits)

  for _ in range(2):
    shift = shift - 0.2 * jax.grad(loss)(shift)
  return loss(shift)


class LogitTest(parameterized.TestCase):

  def test_closed_form(self):
    # relu(2, -3) = (2, 0); times (1, 10; 2, 20) plus (0, -30): (2, -10);
    # relu: (2, 0); times (3, 5) plus 7: 13.
    layers = [
        relu_stack.Layer(
            jnp.asarray([[1.0, 10.0], [2.0, 20.0]]), jnp.asarray([0.0, -30.0])
        ),
        relu_stack.Layer(jnp.asarray([[3.0], [5.0]]), jnp.asarray([7.0])),
    ]
    first = jnp.asarray([2.0, -3.0])
    for stack in (relu_stack.logit, relu_stack.logit_by_slope):
      self.assertAlmostEqual(float(stack(first, layers)), 13.0, places=5)
      # d logit / d z_1 = relu' * 1 * 3.
      slope = jax.grad(stack)(first, layers)
      chex.assert_trees_all_close(slope, jnp.asarray([3.0, 0.0]))

  @parameterized.parameters((1,), (6, 1), (6, 4, 1), (6, 4, 5, 3, 1))
  def test_by_slope_agrees_to_the_second_order(self, *widths):
    with jax.enable_x64(True):
      layers = make_layers((7, *widths))
      rows, shift = make_rows(7), jnp.full(7, 0.1)
      outcomes = [
          jax.value_and_grad(
              functools.partial(adapted_loss, stack), argnums=(0, 1, 2)
          )(shift, layers, rows)
          for stack in (relu_stack.logit, relu_stack.logit_by_slope)
      ]
      chex.assert_trees_all_close(*outcomes, rtol=1e-11, atol=1e-13)
      _, (by_shift, by_layers, _) = outcomes[0]
      self.assertGreater(float(jnp.linalg.norm(by_shift)), 1e-3)
      self.assertGreater(float(jnp.linalg.norm(by_layers[0].kernel)), 1e-3)

  def test_kinks_have_the_derivative_of_relu(self):
    layers = make_layers((3, 1))
    for stack in (relu_stack.logit, relu_stack.logit_by_slope):
      chex.assert_trees_all_equal(
          jax.grad(stack)(jnp.zeros(3), layers), jnp.zeros(3)
      )

  def test_keeps_the_precision_of_the_row(self):
    layers = make_layers((4, 3, 1))
    first = jnp.ones(4, jnp.bfloat16)
    for stack in (relu_stack.logit, relu_stack.logit_by_slope):
      self.assertEqual(stack(first, layers).dtype, jnp.bfloat16)

  def test_takes_half_the_products_when_differentiated_twice(self):
    # Two layers: of the kernel between, an inner step computes forward and
    # slope, the way back the kernel's gradient: 3 products instead of 6.
    layers, rows = make_layers((64, 64, 1)), make_rows(64)
    flops = [
        program.predict(
            jax.grad(functools.partial(adapted_loss, stack), argnums=1),
            jnp.zeros(64),
            layers,
            rows,
        ).flops
        for stack in (relu_stack.logit, relu_stack.logit_by_slope)
    ]
    self.assertBetween(flops[1] / flops[0], 0.45, 0.65)


if __name__ == '__main__':
  absltest.main()
