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
  value_and_gradient = jax.value_and_grad(meta_loss, has_aux=True)

  def meta_gradient(params, meta_batch):
    total_weight = jnp.maximum(jnp.sum(meta_batch.weight), 1e-6)

    def part(microbatch):
      (loss, losses), gradient = value_and_gradient(params, microbatch)
      # Losses are means by weight, the meta loss and its gradient plain means.
      share = jnp.sum(microbatch.weight) / total_weight
      losses = jax.tree.map(lambda x: share * x, losses)
      return losses, _divide((loss, gradient), num_microbatches)

    losses, (loss, gradient) = _sum_of_parts(
        part, meta_batch, num_microbatches
    )
    return (loss, losses), gradient

  return meta_gradient


def _divide(tree, number):
  return jax.tree.map(lambda x: x / number, tree)


def _sum_of_parts(function, meta_batch, num_parts):
  """Returns the sum of function(part) over equal parts of the tasks."""
  if num_parts == 1:
    return function(meta_batch)
  each = meta_batch.weight.shape[0] // num_parts
  parts = jax.tree.map(
      lambda leaf: leaf.reshape(num_parts, each, *leaf.shape[1:]), meta_batch
  )
  first = jax.tree.map(lambda leaf: leaf[0], parts)
  nothing = jax.tree.map(
      lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(function, first)
  )
  add = lambda total, part: (
      jax.tree.map(jnp.add, total, function(part)),
      None,
  )
  return jax.lax.scan(add, nothing, parts)[0]


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
  number = choose_near(num_tasks, predict_bytes(1), budget_bytes=budget_bytes)
  while number < num_tasks and predict_bytes(number) > budget_bytes:
    number = _next_divisor(num_tasks, number + 1)
  return number


def choose_near(num_tasks: int, whole_bytes: int, *, budget_bytes: int) -> int:
  """Returns a number that comes near the budget: part of it never shrinks.

  Args:
    num_tasks: T that one device holds, which the number divides.
    whole_bytes: what one microbatch of all tasks would hold.
    budget_bytes: for what is held at once.
  """
  return _next_divisor(num_tasks, whole_bytes / budget_bytes)


def _next_divisor(number: int, at_least: float) -> int:
  divisors = (n for n in range(1, number) if number % n == 0 and n >= at_least)
  return next(divisors, number)
