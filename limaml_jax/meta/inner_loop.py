"""Inner loop: adapts the meta block to the support set of one task.

    theta_{k+1} = theta_k - alpha_k grad_theta loss(theta_k, phi; support)

with the global block phi fixed (LiMAML, section 4; MAML with front layers).
"""

import jax
import jax.numpy as jnp

from limaml_jax import config as config_lib
from limaml_jax import types


def adapt(
    meta_params: types.Params,
    global_params: types.Params,
    support: types.Examples,
    *,
    loss_fn: types.TaskLossFn,
    learning_rates: types.Params,
    prior_rows: float = 0.0,
    first_order: bool = False,
) -> tuple[types.Params, jax.Array]:
  """Runs K gradient steps on the meta block of a single task.

  The task axis T belongs to the caller, who adds it with one
  `jax.vmap(..., in_axes=(None, None, 0))`. Differentiating through the result
  gives the exact meta-gradient, the mixed derivative with respect to the
  global block included.

  Args:
    meta_params: shared initialization of the meta block.
    global_params: global block, constant here.
    support: support set, leaves [S, ...]; with no real row nothing changes.
    loss_fn: mean loss of one task.
    learning_rates: shaped like `meta_params`, leaves [K].
    prior_rows: weight of the shared initialization against the support, in
      rows: n real rows move the parameters n / (n + prior_rows) of each step.
    first_order: treats the inner gradients as constants (FOMAML).

  Returns:
    Adapted meta block, shaped like `meta_params`, and the support loss before
    each step, [K].
  """
  num_rows = jnp.sum(support.mask)
  trust = num_rows / jnp.maximum(num_rows + prior_rows, 1)

  def step(params, rates):
    loss, grads = jax.value_and_grad(loss_fn)(params, global_params, support)
    if first_order:
      grads = jax.lax.stop_gradient(grads)
    descend = lambda p, r, g: p - trust * r * g
    return jax.tree.map(descend, params, rates, grads), loss

  return jax.lax.scan(step, meta_params, learning_rates)


def make_learning_rates(
    meta_params: types.Params,
    inner_rates: types.Params,
    config: config_lib.InnerLoopConfig,
) -> types.Params:
  """Returns the rate of each parameter array and step, leaves [K].

  Args:
    meta_params: meta block.
    inner_rates: logarithms of the learned rates, or empty.
    config: holds the fixed rate, used when none is learned.
  """
  if inner_rates:
    return jax.tree.map(jnp.exp, inner_rates)
  return jax.tree.map(
      lambda p: jnp.full((config.num_steps,), config.learning_rate, p.dtype),
      meta_params,
  )
