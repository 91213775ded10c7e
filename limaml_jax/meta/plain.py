"""Inner loop by gradient descent on whole arrays: every task gets its own.

The reference that `low_rank` is tested against, and the way of whatever the
low-rank form cannot express.
"""

from collections.abc import Callable
import operator

import jax
import jax.numpy as jnp

from limaml_jax import types

StepFn = Callable[
    [types.Params, types.Params], tuple[types.Params, jax.Array]
]


def adapt(
    meta_params: types.Params,
    global_params: types.Params,
    support: types.Examples,
    *,
    loss_fn: types.TaskLossFn,
    learning_rates: types.Params,
    first_order: bool,
    remat: bool,
) -> tuple[list[types.Params], jax.Array]:
  """Runs K gradient steps on the meta block of a single task.

  Args:
    meta_params: shared initialization of the meta block.
    global_params: global block, constant here.
    support: support set, leaves [S, ...].
    loss_fn: mean loss of one task.
    learning_rates: shaped like `meta_params`, leaves [K].
    first_order: treats the inner gradients as constants (FOMAML).
    remat: recomputes each step in the backward pass.

  Returns:
    The meta block after each step, K of them shaped like `meta_params`, and
    the support loss before each step, [K].
  """

  def step(params, rates):
    loss, grads = jax.value_and_grad(loss_fn)(params, global_params, support)
    if first_order:
      grads = jax.lax.stop_gradient(grads)
    descend = lambda p, rate, g: p - rate * g
    return jax.tree.map(descend, params, rates, grads), loss

  return run_steps(
      jax.checkpoint(step) if remat else step, meta_params, learning_rates
  )


def run_steps(
    step: StepFn, params: types.Params, learning_rates: types.Params
) -> tuple[list[types.Params], jax.Array]:
  """Runs K steps one after another: (parameters, rates) -> (next, loss).

  Unrolled: XLA sees what one step keeps for another, and stacks nothing.
  Returns what each step led to, and the losses, [K].
  """
  leaves = jax.tree.leaves(learning_rates)
  num_steps = leaves[0].shape[0] if leaves else 0
  path, losses = [], []
  for k in range(num_steps):
    rates = jax.tree.map(operator.itemgetter(k), learning_rates)
    params, loss = step(params, rates)
    path.append(params)
    losses.append(loss)
  return path, jnp.stack(losses) if losses else jnp.zeros(0)
