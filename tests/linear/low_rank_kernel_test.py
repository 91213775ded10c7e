from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from limaml_jax.linear import dense
from limaml_jax.linear import low_rank_kernel


def normal(seed, *shape):
  rows = np.random.default_rng(seed).normal(size=shape)
  return jnp.asarray(rows, jnp.float32)


def make_kernel(num_rows, num_changes=2):
  """Returns a kernel in factored form, and the same one whole."""
  shared = normal(0, 4, 3)
  changes = tuple(
      low_rank_kernel.Factors(
          normal(n, num_rows, 4), normal(10 + n, num_rows, 3)
      )
      for n in range(1, 1 + num_changes)
  )
  whole = shared + sum(x.T @ d for x, d in changes)
  return low_rank_kernel.LowRankKernel(shared, changes), whole


class LowRankKernelTest(parameterized.TestCase):

  @parameterized.parameters(1, 5)
  def test_applies_as_the_whole_kernel(self, num_rows):
    kernel, whole = make_kernel(num_rows)
    rows = normal(9, num_rows, 4)
    chex.assert_trees_all_close(rows @ kernel, rows @ whole, rtol=1e-4)

  @parameterized.product(
      num_rows=(1, 5), leading=((), (1,), (3,), (1, 2), (2, 1))
  )
  def test_applies_to_other_rows_than_made_it(self, num_rows, leading):
    kernel, whole = make_kernel(num_rows)
    rows = normal(9, *leading, 4)
    chex.assert_trees_all_close(
        low_rank_kernel.matmul(rows, kernel), rows @ whole, rtol=1e-4, atol=1e-5
    )

  def test_numpy_rows_are_rows(self):
    kernel, whole = make_kernel(num_rows=5)
    rows = np.asarray(normal(9, 5, 4))
    expected = rows @ np.asarray(whole)
    for found in (rows @ kernel, low_rank_kernel.matmul(rows, kernel)):
      chex.assert_trees_all_close(found, expected, rtol=1e-4, atol=1e-5)

  @parameterized.parameters(1, 5)
  def test_gradient_comes_in_factors(self, num_rows):
    kernel, whole = make_kernel(num_rows)
    rows = normal(9, num_rows, 4)
    loss = lambda kernel: jnp.sum(jnp.sin(rows @ kernel))
    inputs, cotangents = jax.grad(
        lambda gradient: loss(kernel._replace(gradient=gradient))
    )(low_rank_kernel.zeros(num_rows, whole))
    chex.assert_trees_all_close(inputs, rows)
    chex.assert_trees_all_close(
        inputs.T @ cotangents, jax.grad(loss)(whole), rtol=1e-4, atol=1e-5
    )

  def test_asking_for_the_gradient_changes_no_product(self):
    kernel, whole = make_kernel(num_rows=5)
    asking = kernel._replace(gradient=low_rank_kernel.zeros(5, whole))
    rows = normal(9, 5, 4)
    chex.assert_trees_all_equal(rows @ asking, rows @ kernel)

  def test_bfloat16_rows_leave_factors_in_float32(self):
    kernel, whole = make_kernel(num_rows=5)
    rows = normal(9, 5, 4).astype(jnp.bfloat16)

    def loss(gradient):
      product = rows @ kernel._replace(gradient=gradient)
      self.assertEqual(product.dtype, jnp.bfloat16)
      return jnp.sum(product.astype(jnp.float32) ** 2)

    factors = jax.grad(loss)(low_rank_kernel.zeros(5, whole))
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

  def count(self, function):
    probe = low_rank_kernel.Probe(normal(0, 4, 4))
    traced = jax.make_jaxpr(lambda rows: function(rows, probe))(normal(1, 5, 4))
    return low_rank_kernel.count_rows(traced.jaxpr)

  @parameterized.named_parameters(
      ('once', lambda rows, kernel: rows @ kernel, [5]),
      ('twice', lambda rows, kernel: rows[:2] @ kernel @ kernel, [2, 2]),
      ('never', lambda rows, kernel: rows, []),
      ('in_a_call', lambda rows, kernel: jax.jit(lambda r: r @ kernel)(rows),
       [5]),
  )  # fmt: skip
  def test_counts_the_rows_of_each_application(self, function, expected):
    self.assertCountEqual(self.count(function), expected)

  def test_a_call_that_is_traced_once_counts_each_time(self):
    def function(rows, kernel):
      layer = jax.jit(lambda rows: rows @ kernel)
      return layer(layer(rows))

    self.assertEqual(self.count(function), [5, 5])

  @parameterized.named_parameters(
      ('transposed', lambda rows, kernel: kernel.T @ rows.T, 'no attribute'),
      ('in_einsum', lambda r, k: jnp.einsum('ri,io->ro', r, k), 'Probe'),
      ('one_row', lambda rows, kernel: rows[0] @ kernel, r'shape \(4,\)'),
      (
          'mapped',
          lambda rows, kernel: jax.vmap(lambda r: r[None] @ kernel)(rows),
          'under jax.vmap',
      ),
      (
          'in_a_scan',
          lambda rows, kernel: jax.lax.scan(
              lambda h, _: (h @ kernel, None), rows, length=3
          ),
          'inside a scan',
      ),
      (
          'in_a_map',
          lambda rows, k: jax.lax.map(lambda r: (r[None] @ k)[0], rows),
          'inside a scan',
      ),
      (
          'in_a_branch',
          lambda rows, kernel: jax.lax.cond(
              rows[0, 0] > 0, lambda r: r @ kernel, lambda r: r, rows
          ),
          'inside a cond',
      ),
  )
  def test_refuses_whatever_is_no_product_of_rows(self, function, message):
    with self.assertRaisesRegex((TypeError, AttributeError), message):
      self.count(function)


if __name__ == '__main__':
  absltest.main()
