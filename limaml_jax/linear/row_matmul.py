"""Rows times a shared kernel: one matrix product, however often it is vmapped.

`jax.vmap` of `rows @ kernel` over tasks and rows keeps each mapped axis apart.
The gradient of the kernel then contracts several axes, which XLA meets with a
transposed copy of every activation. This primitive folds mapped axes into rows,
so that forward and backward are plain products of two matrices.
"""

import functools
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
  # Read here: where it is lowered, jax.default_matmul_precision has ended.
  precision = jax.config.jax_default_matmul_precision  # pyrefly: ignore
  return _PRIMITIVE.bind(rows, kernel, precision=precision)


def _product(rows, kernel, *, precision):
  axes = (((rows.ndim - 1,), (0,)), ((), ()))
  return jax.lax.dot_general(rows, kernel, axes, precision=precision)


def _transpose_to_rows(cotangent, rows, kernel, *, precision):
  del rows
  return _PRIMITIVE.bind(cotangent, kernel.T, precision=precision)


def _transpose_to_kernel(cotangent, rows, kernel, *, precision):
  del kernel
  leading = tuple(range(rows.ndim - 1))
  axes = ((leading, leading), ((), ()))
  # In this order: XLA's CPU product of few columns by many is the faster one.
  return jax.lax.dot_general(cotangent, rows, axes, precision=precision).T


def _batch(operands, axes, *, precision):
  rows, kernel = operands
  rows_axis, kernel_axis = axes
  if kernel_axis is not None:  # A kernel per task: nothing to share.
    product = functools.partial(_product, precision=precision)
    return jax.vmap(product, in_axes=axes)(rows, kernel), 0
  rows = jnp.moveaxis(rows, rows_axis, 0)
  *mapped, num_inputs = rows.shape
  flat = rows.reshape(math.prod(mapped), num_inputs)
  product = _PRIMITIVE.bind(flat, kernel, precision=precision)
  return product.reshape(*mapped, kernel.shape[1]), 0


_PRIMITIVE.def_impl(jax.jit(_product, static_argnames='precision'))
_PRIMITIVE.def_abstract_eval(
    lambda rows, kernel, precision: jax.core.ShapedArray(
        (*rows.shape[:-1], kernel.shape[1]), rows.dtype
    )
)
mlir.register_lowering(
    _PRIMITIVE, mlir.lower_fun(_product, multiple_results=False)
)
ad.defbilinear(_PRIMITIVE, _transpose_to_rows, _transpose_to_kernel)
batching.primitive_batchers[_PRIMITIVE] = _batch
