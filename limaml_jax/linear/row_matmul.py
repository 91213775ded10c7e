"""Rows times a shared kernel: one matrix product, however often it is vmapped.

`jax.vmap` of `rows @ kernel` over tasks and rows keeps each mapped axis apart.
The gradient of the kernel then contracts several axes, which XLA meets with a
transposed copy of every activation. This primitive folds mapped axes into rows,
so that forward and backward are plain products of two matrices.
"""

import math

import jax
from jax.extend import core
from jax.interpreters import ad
from jax.interpreters import batching
from jax.interpreters import mlir
import jax.numpy as jnp

_PRIMITIVE = core.Primitive('row_matmul')


def row_matmul(rows: jax.Array, kernel: jax.Array) -> jax.Array:
  """Returns rows @ kernel, [..., in] and [in, out] to [..., out]."""
  return _PRIMITIVE.bind(rows, kernel)


def _product(rows, kernel):
  return jax.lax.dot_general(rows, kernel, (((rows.ndim - 1,), (0,)), ((), ())))


def _transpose_to_rows(cotangent, rows, kernel):
  del rows
  return row_matmul(cotangent, kernel.T)


def _transpose_to_kernel(cotangent, rows, kernel):
  del kernel
  axes = tuple(range(rows.ndim - 1))
  return jax.lax.dot_general(rows, cotangent, ((axes, axes), ((), ())))


def _batch(operands, axes):
  rows, kernel = operands
  rows_axis, kernel_axis = axes
  if kernel_axis is not None:  # A kernel per task: nothing to share.
    return jax.vmap(_product, in_axes=axes)(rows, kernel), 0
  rows = jnp.moveaxis(rows, rows_axis, 0)
  *mapped, num_inputs = rows.shape
  flat = row_matmul(rows.reshape(math.prod(mapped), num_inputs), kernel)
  return flat.reshape(*mapped, kernel.shape[1]), 0


_PRIMITIVE.def_impl(jax.jit(_product))
_PRIMITIVE.def_abstract_eval(
    lambda rows, kernel: jax.core.ShapedArray(
        (*rows.shape[:-1], kernel.shape[1]), rows.dtype
    )
)
mlir.register_lowering(
    _PRIMITIVE, mlir.lower_fun(_product, multiple_results=False)
)
ad.defbilinear(_PRIMITIVE, _transpose_to_rows, _transpose_to_kernel)
batching.primitive_batchers[_PRIMITIVE] = _batch
