from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from limaml_jax.linear import row_matmul

_ROWS = np.random.default_rng(0).normal(size=(3, 2, 4)).astype(np.float32)
_KERNEL = np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32)


def operations(function, *arguments):
  """Returns (name, operand shapes) of what a function is traced to."""
  equations = jax.make_jaxpr(function)(*arguments).jaxpr.eqns
  return [
      (e.primitive.name, [v.aval.shape for v in e.invars]) for e in equations
  ]


class RowMatmulTest(parameterized.TestCase):

  @parameterized.parameters((0,), (1,), (2,))
  def test_is_the_product_under_any_number_of_vmaps(self, num_mapped):
    function = row_matmul.row_matmul
    for _ in range(num_mapped):
      function = jax.vmap(function, in_axes=(0, None))
    found = jax.jit(function)(_ROWS, _KERNEL)
    chex.assert_trees_all_close(found, _ROWS @ _KERNEL, rtol=1e-5)

  def test_mapped_axes_become_rows_of_one_product(self):
    per_row = jax.vmap(row_matmul.row_matmul, in_axes=(0, None))
    per_task = jax.vmap(per_row, in_axes=(0, None))
    products = [
        shapes
        for name, shapes in operations(per_task, _ROWS, _KERNEL)
        if name == 'row_matmul'
    ]
    self.assertEqual(products, [[(6, 4), (4, 5)]])

  def test_gradient_of_the_kernel_contracts_one_axis(self):
    def total(kernel):
      per_task = jax.vmap(row_matmul.row_matmul, in_axes=(0, None))
      return jnp.sum(per_task(_ROWS, kernel) ** 2)

    products = [
        shapes
        for name, shapes in operations(jax.grad(total), _KERNEL)
        if name == 'dot_general'
    ]
    self.assertEqual(products, [[(6, 5), (6, 4)]])

  @parameterized.parameters((0, 4), (2, 0))
  def test_nothing_is_a_number_of_rows_or_inputs(self, num_rows, num_inputs):
    rows, kernel = jnp.ones((3, num_rows, num_inputs)), _KERNEL[:num_inputs]
    found = jax.vmap(row_matmul.row_matmul, in_axes=(0, None))(rows, kernel)
    chex.assert_trees_all_equal(found, jnp.zeros((3, num_rows, 5)))

  def test_keeps_to_the_precision_asked_for(self):
    mapped = jax.jit(jax.vmap(row_matmul.row_matmul, in_axes=(0, None)))
    with jax.default_matmul_precision('highest'):
      asked = mapped.lower(_ROWS, _KERNEL).as_text()
    self.assertIn('HIGHEST', asked)
    self.assertNotIn('HIGHEST', mapped.lower(_ROWS, _KERNEL).as_text())

  def test_mapping_along_another_axis(self):
    rows = np.moveaxis(_ROWS, 0, -1)
    mapped = jax.vmap(row_matmul.row_matmul, in_axes=(2, None))
    chex.assert_trees_all_close(
        mapped(rows, _KERNEL), _ROWS @ _KERNEL, rtol=1e-5
    )

  @parameterized.parameters(((0, 0),), ((None, 0),))
  def test_a_kernel_per_task(self, in_axes):
    kernels = jnp.stack([_KERNEL, 2 * _KERNEL, -_KERNEL])
    rows = _ROWS if in_axes[0] == 0 else _ROWS[0]
    found = jax.vmap(row_matmul.row_matmul, in_axes=in_axes)(rows, kernels)
    chex.assert_trees_all_close(found, rows @ kernels, rtol=1e-5)

  def test_second_derivatives_are_those_of_the_product(self):
    def twice(product):
      def inner(rows, kernel):
        return jnp.sum(jnp.sin(product(rows, kernel)))

      def outer(rows, kernel):
        gradients = jax.grad(inner, (0, 1))(rows, kernel)
        return sum(jnp.sum(g**2) for g in gradients)

      return jax.grad(outer, (0, 1))(_ROWS[0], _KERNEL)

    chex.assert_trees_all_close(
        twice(row_matmul.row_matmul), twice(jnp.matmul), rtol=1e-4
    )


if __name__ == '__main__':
  absltest.main()
