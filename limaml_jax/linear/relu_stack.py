"""Dense layers, ReLU before each, down to one logit, cheap to differentiate.

Such a stack is linear between the kinks of its ReLUs, and one number comes out:
so the gradient at its first layer, the *slope*, says all there is to say.

    d_L = masks_L w_last            masks_l = [z_l > 0], constants
    d_l = masks_l (W_l d_{l+1})     slope = d_1
    logit = z_1 slope + sum_l b_l d_{l+1} + b_last

Written so, a gradient through the stack is a multiple of the slope and needs
no product of matrices, and the gradient of that gradient, which meta-training
takes, needs half the products that ReLU by ReLU it would: for each inner step
and hidden layer forward, slope and one kernel gradient, against six.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from limaml_jax.linear import row_matmul


class Layer(NamedTuple):
  """One dense layer.

  Attributes:
    kernel: W, [in, out].
    bias: b, [out].
  """

  kernel: jax.Array
  bias: jax.Array


def logit(first: jax.Array, layers: Sequence[Layer]) -> jax.Array:
  """Maps one row, [in], through ReLU and layer after layer to a logit, [].

  Args:
    first: z_1, before the first ReLU.
    layers: at least one; the last has one output. Computed in the precision
      of `first`.
  """
  *_, last = _forward(first, layers)
  return last[0]


def logit_by_slope(first: jax.Array, layers: Sequence[Layer]) -> jax.Array:
  """Returns what `logit` returns, with the same derivatives of any order.

  For what is differentiated twice; forward alone it costs twice as much.
  """
  *hidden, last = layers
  outputs = _forward(*jax.lax.stop_gradient((first, hidden)))
  *masks, mask = [(z > 0).astype(first.dtype) for z in outputs]
  column = last.kernel[:, 0]
  offset = last.bias[0]
  if not hidden:
    slope = mask * column.astype(first.dtype)
    return jnp.sum(first * slope) + offset.astype(first.dtype)
  # The last column is folded into the kernel before it: so the masks alone
  # meet a kernel, and no product leads back to the column.
  *hidden, (kernel, bias) = hidden
  slope = _matmul(mask, (kernel * column).T) * masks.pop()
  offset += _matmul(mask, (bias * column)[:, None])[0]
  for kernel, bias in reversed(hidden):
    offset += jnp.sum(slope * bias.astype(slope.dtype))
    slope = _matmul(slope, kernel.T) * masks.pop()
  return jnp.sum(first * slope) + offset.astype(first.dtype)


def _forward(rows: jax.Array, layers: Sequence[Layer]) -> list[jax.Array]:
  """Returns z_1 and what each layer makes of it."""
  outputs = [rows]
  for kernel, bias in layers:
    product = _matmul(jax.nn.relu(outputs[-1]), kernel)
    outputs.append(product + bias.astype(rows.dtype))
  return outputs


def _matmul(rows: jax.Array, kernel: jax.Array) -> jax.Array:
  return row_matmul.row_matmul(rows, kernel.astype(rows.dtype))
