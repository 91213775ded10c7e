"""A kernel that one task has adapted, kept as the shared one plus factors.

A gradient step changes a dense layer's kernel by -rate X^T D, with X the rows
that met it and D the loss's cotangent at its output. After k steps

    rows W_k = rows W + sum_{j<k} (rows X_j^T) D_j

with the rates inside D_j. No array of a kernel's shape exists for any task.
"""

from typing import NamedTuple

import jax
from jax.extend import core
from jax.interpreters import batching
import jax.numpy as jnp

from limaml_jax.linear import row_matmul


class Factors(NamedTuple):
  """A kernel's change X^T D in factored form.

  Attributes:
    inputs: X, rows that met the kernel, [R, in].
    cotangents: D, [R, out].
  """

  inputs: jax.Array
  cotangents: jax.Array


class LowRankKernel(NamedTuple):
  """A kernel W + sum_j X_j^T D_j; `rows @ kernel` and `matmul` apply it.

  Attributes:
    shared: W, [in, out].
    changes: one for each inner step so far.
    gradient: where the gradient is wanted, zeros: the cotangent of this leaf
      is the kernel's gradient, in factored form.
  """

  shared: jax.Array
  changes: tuple[Factors, ...] = ()
  gradient: Factors | None = None

  def __rmatmul__(self, rows: jax.Array) -> jax.Array:
    product = row_matmul.row_matmul(rows, self.shared.astype(rows.dtype))
    change = sum(_apply(rows, factors) for factors in self.changes)
    product += jnp.asarray(change, product.dtype)
    if self.gradient is None:
      return product
    return _record(product, rows, self.gradient)


def matmul(rows: jax.Array, kernel: jax.Array | LowRankKernel) -> jax.Array:
  """Returns rows @ kernel, [..., in] to [..., out], in the dtype of rows."""
  if isinstance(kernel, jax.Array):
    return row_matmul.row_matmul(rows, kernel.astype(rows.dtype))
  return rows @ kernel


def zeros(num_rows: int, kernel: jax.Array) -> Factors:
  """Returns factors of no change, in the kernel's own precision."""
  return Factors(
      jnp.zeros((num_rows, kernel.shape[0]), kernel.dtype),
      jnp.zeros((num_rows, kernel.shape[1]), kernel.dtype),
  )


def _apply(rows: jax.Array, factors: Factors) -> jax.Array:
  """Returns rows X^T D, [R, out]."""
  inputs, cotangents = factors
  rows = rows.astype(inputs.dtype)
  if rows.shape[0] == inputs.shape[0] == 1:  # Sums fuse, tiny products do not.
    return jnp.sum(rows * inputs) * cotangents
  return (rows @ inputs.T) @ cotangents


@jax.custom_vjp
def _record(product, rows, gradient):
  """Returns the product; the cotangent of `gradient` is (rows, cotangent)."""
  del rows, gradient
  return product


def _record_forward(product, rows, gradient):
  del gradient
  return product, rows


def _record_backward(rows, cotangent):
  precision = jnp.promote_types(rows.dtype, jnp.float32)
  gradient = Factors(rows.astype(precision), cotangent.astype(precision))
  return cotangent, jnp.zeros_like(rows), gradient


_record.defvjp(_record_forward, _record_backward)


class Probe:
  """Stands for a kernel during tracing, and notes the rows that it meets.

  Whatever else is done to it than `rows @ kernel` raises a TypeError.
  """

  def __init__(self, kernel: jax.Array):
    self.shape = kernel.shape
    self.dtype = kernel.dtype
    self.num_rows: list[int] = []

  def __rmatmul__(self, rows: jax.Array) -> jax.Array:
    if rows.ndim != 2:
      raise TypeError(f'meets rows of shape {rows.shape}, not [R, in]')
    self.num_rows.append(rows.shape[0])
    return jnp.zeros((rows.shape[0], self.shape[1]), rows.dtype) + (
        _NOT_MAPPED.bind(rows)[:, :1]
    )


def _refuse_mapping(operands, axes):
  raise TypeError('is applied under jax.vmap; apply it to all rows at once')


# The identity, which no row-wise vmap may see: it would sum the rows' factors.
_NOT_MAPPED = core.Primitive('not_mapped')
_NOT_MAPPED.def_abstract_eval(lambda rows: rows)
batching.primitive_batchers[_NOT_MAPPED] = _refuse_mapping
