import dataclasses

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp

from experiments.benchmark import cases
from limaml_jax import config as config_lib
from limaml_jax.training import program

_ROWS = jnp.ones((8, 4))
_KERNEL = jnp.ones((4, 6))


class PredictTest(parameterized.TestCase):

  def test_counts_products_and_what_they_return(self):
    def function(rows, kernel):
      hidden = jax.nn.relu(rows @ kernel)  # 8 x 6 float32: 192 bytes.
      return jnp.sum(hidden @ kernel.T)  # 8 x 4: 128 bytes.

    found = program.predict(function, _ROWS, _KERNEL)
    self.assertEqual(found.flops, 2 * 2 * 8 * 4 * 6)
    # Most is held when ReLU reads the product and writes the next operand.
    self.assertEqual(found.temp_bytes, 192 + 192)

  def test_fused_operations_hold_nothing(self):
    function = lambda rows: jnp.tanh(2 * rows + 1) ** 2
    self.assertEqual(program.predict(function, _ROWS).temp_bytes, 0)

  def test_what_no_result_needs_is_not_counted(self):
    def function(rows, kernel):
      _ = rows @ kernel
      return rows @ kernel[:, :1]

    found = program.predict(function, _ROWS, _KERNEL)
    self.assertEqual(found.flops, 2 * 8 * 4)

  def test_loops_count_once_per_turn(self):
    def function(rows, kernel):
      turn = lambda total, _: (total + jnp.sum(rows @ kernel), None)
      return jax.lax.scan(turn, 0.0, length=5)[0]

    found = program.predict(function, _ROWS, _KERNEL)
    self.assertEqual(found.flops, 5 * 2 * 8 * 4 * 6)
    self.assertEqual(found.temp_bytes, 192 + 4)  # The product, and its sum.

  @parameterized.product(
      case=cases.CASES,
      implementation=('plain', 'low_rank'),
      num_steps=(5,),
  )
  def test_memory_of_a_step_is_near_that_of_xla(
      self, case, implementation, num_steps
  ):
    case = dataclasses.replace(case, num_tasks=64)
    loss = cases.make_meta_loss(
        case,
        config_lib.InnerLoopConfig(
            num_steps=num_steps,
            learning_rate=0.1,
            implementation=implementation,
        ),
    )
    step = jax.value_and_grad(loss, has_aux=True)
    params = cases.make_params(case)
    batch = cases.make_batch(case)
    compiled = jax.jit(step).lower(params, batch).compile()
    actual = compiled.memory_analysis().temp_size_in_bytes
    predicted = program.predict(step, params, batch).temp_bytes
    self.assertBetween(predicted / actual, 0.75, 1.25)


if __name__ == '__main__':
  absltest.main()
