from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from limaml_jax.linear import dense
from limaml_jax.linear import low_rank


def normal(seed, *shape):
  rows = np.random.default_rng(seed).normal(size=shape)
  return jnp.asarray(rows, jnp.float32)


def make_kernel(num_rows, num_changes=2):
  """Returns a kernel in factored form, and the same one whole."""
  shared = normal(0, 4, 3)
  changes = tuple(
      low_rank.Factors(normal(n, num_rows, 4), normal(10 + n, num_rows, 3))
      for n in range(1, 1 + num_changes)
  )
  whole = shared + sum(x.T @ d for x, d in changes)
  return low_rank.LowRankKernel(shared, changes), whole


class LowRankKernelTest(parameterized.TestCase):

  @parameterized.parameters(1, 5)
  def test_applies_as_the_whole_kernel(self, num_rows):
    kernel, whole = make_kernel(num_rows)
    rows = normal(9, num_rows, 4)
    chex.assert_trees_all_close(rows @ kernel, rows @ whole, rtol=1e-4)

  def test_applies_to_other_rows_than_made_it(self):
    kernel, whole = make_kernel(num_rows=5)
    rows = normal(9, 1, 4)
    chex.assert_trees_all_close(
        low_rank.matmul(rows, kernel), rows @ whole, rtol=1e-4
    )

  @parameterized.parameters(1, 5)
  def test_gradient_comes_in_factors(self, num_rows):
    kernel, whole = make_kernel(num_rows)
    rows = normal(9, num_rows, 4)
    loss = lambda kernel: jnp.sum(jnp.sin(rows @ kernel))
    inputs, cotangents = jax.grad(
        lambda gradient: loss(kernel._replace(gradient=gradient))
    )(low_rank.zeros(num_rows, whole))
    chex.assert_trees_all_close(inputs, rows)
    chex.assert_trees_all_close(
        inputs.T @ cotangents, jax.grad(loss)(whole), rtol=1e-4, atol=1e-5
    )

  def test_asking_for_the_gradient_changes_no_product(self):
    kernel, whole = make_kernel(num_rows=5)
    asking = kernel._replace(gradient=low_rank.zeros(5, whole))
    rows = normal(9, 5, 4)
    chex.assert_trees_all_equal(rows @ asking, rows @ kernel)

  def test_bfloat16_rows_leave_factors_in_float32(self):
    kernel, whole = make_kernel(num_rows=5)
    rows = normal(9, 5, 4).astype(jnp.bfloat16)

    def loss(gradient):
      product = rows @ kernel._replace(gradient=gradient)
      self.assertEqual(product.dtype, jnp.bfloat16)
      return jnp.sum(product.astype(jnp.float32) ** 2)

    factors = jax.grad(loss)(low_rank.zeros(5, whole))
    self.assertEqual({leaf.dtype for leaf in factors}, {jnp.dtype('float32')})

  def test_dense_layer_takes_either_kernel(self):
    layer = dense.Dense(4, 3)
    kernel, whole = make_kernel(num_rows=1)
    rows = normal(9, 1, 4)
    bias = normal(8, 3)
    found = layer.apply({'params': {'kernel': kernel, 'bias': bias}}, rows)
    expected = layer.apply({'params': {'kernel': whole, 'bias': bias}}, rows)
    chex.assert_trees_all_close(found, expected, rtol=1e-4)
    chex.assert_trees_all_close(expected, rows @ whole + bias, rtol=1e-5)


class ProbeTest(parameterized.TestCase):

  def probe(self, function):
    probe = low_rank.Probe(normal(0, 4, 3))
    shape = jax.eval_shape(lambda rows: function(rows, probe), normal(1, 5, 4))
    return probe.num_rows, shape

  def test_notes_the_rows_it_meets(self):
    num_rows, product = self.probe(lambda rows, kernel: rows @ kernel)
    self.assertEqual(num_rows, [5])
    self.assertEqual(product.shape, (5, 3))

  @parameterized.named_parameters(
      ('transposed', lambda rows, kernel: kernel.T @ rows.T, 'no attribute'),
      ('in_einsum', lambda r, k: jnp.einsum('ri,io->ro', r, k), 'Probe'),
      ('one_row', lambda rows, kernel: rows[0] @ kernel, r'shape \(4,\)'),
      (
          'mapped',
          lambda rows, kernel: jax.vmap(lambda r: r[None] @ kernel)(rows),
          'under jax.vmap',
      ),
  )
  def test_refuses_whatever_is_no_product_of_rows(self, function, message):
    with self.assertRaisesRegex((TypeError, AttributeError), message):
      self.probe(function)


if __name__ == '__main__':
  absltest.main()
