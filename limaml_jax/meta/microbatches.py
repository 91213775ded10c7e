"""Meta-gradient of a meta-batch, accumulated over its parts to save memory."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from limaml_jax import types
from limaml_jax.meta import outer_loop

# (parameters, meta-batch) -> ((meta loss, losses), meta-gradient).
MetaGradientFn = Callable[
    [types.BlockParams, types.Episode],
    tuple[tuple[jax.Array, outer_loop.MetaLosses], types.BlockParams],
]


def make_meta_gradient(
    meta_loss: outer_loop.MetaLossFn, *, num_microbatches: int
) -> MetaGradientFn:
  """Returns the meta loss and its gradient, one microbatch after another.

  Args:
    meta_loss: of a meta-batch, leaves [T, ...].
    num_microbatches: a divisor of T; what is held at once shrinks by it.
  """
  meta_gradient = jax.value_and_grad(meta_loss, has_aux=True)
  if num_microbatches == 1:
    return meta_gradient

  def split(leaf):
    # Every nth task, so that each device has its share of every microbatch.
    num_tasks, *rest = leaf.shape
    each = num_tasks // num_microbatches
    parts = leaf.reshape(each, num_microbatches, *rest)
    return jnp.swapaxes(parts, 0, 1)

  def accumulated(params, meta_batch):
    microbatches = jax.tree.map(split, meta_batch)
    weights = jnp.sum(microbatches.weight, axis=1)
    # Losses are means by weight, the meta loss and its gradient plain means.
    shares = weights / jnp.maximum(jnp.sum(weights), 1e-6)

    def add(total, part):
      microbatch, share = part
      (loss, losses), gradient = meta_gradient(params, microbatch)
      losses = jax.tree.map(lambda x: share * x, losses)
      loss, gradient = jax.tree.map(
          lambda x: x / num_microbatches, (loss, gradient)
      )
      return jax.tree.map(jnp.add, total, ((loss, losses), gradient)), None

    first = jax.tree.map(lambda x: x[0], microbatches)
    shapes = jax.eval_shape(meta_gradient, params, first)
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return jax.lax.scan(add, nothing, (microbatches, shares))[0]

  return accumulated


def choose_number(
    num_tasks: int,
    predict_bytes: Callable[[int], int],
    *,
    budget_bytes: int,
) -> int:
  """Returns the smallest number of microbatches that keeps to the budget.

  Args:
    num_tasks: T that one device holds, which the number divides.
    predict_bytes: what so many microbatches would hold at once.
    budget_bytes: for what is held at once; where no number keeps to it, T is
      returned.
  """
  at_least = predict_bytes(1) / budget_bytes  # Nothing shrinks faster.
  for number in range(1, num_tasks):
    if num_tasks % number or number < at_least:
      continue
    if predict_bytes(number) <= budget_bytes:
      return number
  return num_tasks
