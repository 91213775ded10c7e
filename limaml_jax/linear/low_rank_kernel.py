"""A kernel that one task has adapted, kept as the shared one plus factors.

A gradient step changes a dense layer's kernel by -rate X^T D, with X the rows
that met it and D the loss's cotangent at its output. After k steps

    rows W_k = rows W + sum_{j<k} (rows X_j^T) D_j

with the rates inside D_j. No array of a kernel's shape exists for any task.
"""

from collections.abc import Sequence
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

  __array_ufunc__ = None  # numpy's @ leaves it to us.

  def __rmatmul__(self, rows: jax.Array) -> jax.Array:
    rows = jnp.asarray(rows)
    product = row_matmul.row_matmul(rows, self.shared.astype(rows.dtype))
    if self.changes:
      product += _change(rows, self.changes).astype(product.dtype)
    if self.gradient is None:
      return product
    return _record(product, rows, self.gradient)


def matmul(rows: jax.Array, kernel: jax.Array | LowRankKernel) -> jax.Array:
  """Returns rows @ kernel, [..., in] to [..., out], in the dtype of rows."""
  rows = jnp.asarray(rows)
  if isinstance(kernel, LowRankKernel | Probe):
    return rows @ kernel
  return row_matmul.row_matmul(rows, jnp.asarray(kernel, rows.dtype))


def zeros(num_rows: int, kernel: jax.Array) -> Factors:
  """Returns factors of no change, in the kernel's own precision."""
  return Factors(
      jnp.zeros((num_rows, kernel.shape[0]), kernel.dtype),
      jnp.zeros((num_rows, kernel.shape[1]), kernel.dtype),
  )


def _change(rows: jax.Array, changes: Sequence[Factors]) -> jax.Array:
  """Returns sum_j (rows X_j^T) D_j, [..., out], in the factors' precision."""
  # All steps in one product: many small ones would cost more in starting them.
  stack = lambda *leaves: jnp.concatenate(leaves)
  inputs, cotangents = jax.tree.map(stack, *changes)
  return (rows.astype(inputs.dtype) @ inputs.T) @ cotangents


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
  """Stands for a kernel during tracing, and leaves a mark where it is applied.

  Whatever else is done to it than `rows @ kernel` raises.
  """

  __array_ufunc__ = None

  def __init__(self, kernel: jax.Array):
    self.shape = kernel.shape
    self.dtype = kernel.dtype

  def __rmatmul__(self, rows: jax.Array) -> jax.Array:
    if rows.ndim != 2:
      raise TypeError(f'meets rows of shape {rows.shape}, not [R, in]')
    marked = _MARK.bind(jnp.asarray(rows), num_rows=rows.shape[0])
    return jnp.zeros((rows.shape[0], self.shape[1]), rows.dtype) + marked[:, :1]


def count_rows(jaxpr: core.Jaxpr) -> list[int]:
  """Returns R of each application of a `Probe` in a traced program.

  Raises:
    TypeError: if one runs an unknown number of times, in a loop or a branch.
  """
  num_rows = []
  for equation in jaxpr.eqns:
    if equation.primitive is _MARK:
      num_rows.append(equation.params['num_rows'])
    for inner in core.jaxprs_in_params(equation.params):
      inside = count_rows(inner)
      if inside and equation.primitive.name in ('scan', 'while', 'cond'):
        raise TypeError(f'is applied inside a {equation.primitive.name}')
      num_rows += inside
  return num_rows


def _refuse_mapping(operands, axes, *, num_rows):
  raise TypeError('is applied under jax.vmap; apply it to all rows at once')


# The identity, which no row-wise vmap may see: it would sum the rows' factors.
_MARK = core.Primitive('probe_mark')
_MARK.def_abstract_eval(lambda rows, num_rows: rows)
batching.primitive_batchers[_MARK] = _refuse_mapping
