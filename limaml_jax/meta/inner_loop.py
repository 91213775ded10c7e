"""Inner loop: adapts the meta block to the support set of one task.

    theta_{k+1} = theta_k - alpha_k grad_theta loss(theta_k, phi; support)

with the global block phi fixed (LiMAML, section 4; MAML with front layers).
Two implementations do it, to the same numbers: `plain` and `low_rank`.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.meta import cost
from limaml_jax.meta import low_rank
from limaml_jax.meta import plain


def adapt(
    meta_params: types.Params,
    global_params: types.Params,
    support: types.Examples,
    **options: Any,
) -> tuple[types.Params, jax.Array]:
  """Runs K gradient steps on the meta block of a single task.

  Arguments are those of `adapt_path`, of whose path this is the end.

  Returns:
    Adapted meta block, shaped like `meta_params` but for kernels kept as
    `LowRankKernel`, and the support loss before each step, [K].
  """
  path, losses = adapt_path(meta_params, global_params, support, **options)
  return path[-1], losses


def adapt_path(
    meta_params: types.Params,
    global_params: types.Params,
    support: types.Examples,
    *,
    loss_fn: types.TaskLossFn,
    learning_rates: types.Params,
    prior_rows: float = 0.0,
    first_order: bool = False,
    implementation: str = 'auto',
    remat: bool = False,
) -> tuple[list[types.Params], jax.Array]:
  """Runs K gradient steps on the meta block, and keeps where each one led.

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
      rows: real rows of total weight n move the parameters n / (n + prior_rows)
      of each step.
    first_order: treats the inner gradients as constants (FOMAML).
    implementation: 'plain' gives every task its own arrays, 'low_rank' keeps
      kernels as factors, 'auto' takes what is cheaper for each kernel.
    remat: recomputes each step in the backward pass, which saves memory.

  Returns:
    The meta block after 0, 1, ... K steps, shaped like `meta_params` but, from
    the first step on, for kernels kept as `LowRankKernel`, and the support loss
    before each step, [K].
  """
  steps = jax.tree.leaves(learning_rates)
  chosen = plan(
      meta_params,
      global_params,
      support,
      loss_fn=loss_fn,
      num_steps=steps[0].shape[0] if steps else 0,
      implementation=implementation,
  )
  run = plain.adapt
  if chosen.low_rank:
    run = functools.partial(low_rank.adapt, num_rows=chosen.low_rank)
  path, losses = run(
      meta_params,
      global_params,
      support,
      loss_fn=loss_fn,
      learning_rates=_trusted(learning_rates, support, prior_rows),
      first_order=first_order,
      remat=remat,
  )
  return [meta_params, *path], losses


def _trusted(learning_rates, support, prior_rows):
  """Returns smaller rates for a support that weighs little."""
  num_rows = jnp.sum(support.mask)  # By weight.
  trust = num_rows / jnp.where(num_rows > 0, num_rows + prior_rows, 1)
  return jax.tree.map(lambda rate: trust * rate, learning_rates)


def plan(
    meta_params: types.Params,
    global_params: types.Params,
    support: types.Examples,
    *,
    loss_fn: types.TaskLossFn,
    num_steps: int,
    implementation: str,
) -> cost.Plan:
  """Chooses how each kernel adapts, from shapes alone; arguments as `adapt`."""
  if not num_steps:
    return cost.choose({}, refused={}, num_steps=0, implementation='plain')
  num_rows, refused = low_rank.find_kernels(
      meta_params, global_params, support, loss_fn=loss_fn
  )
  leaves = jax.tree_util.tree_leaves_with_path(meta_params)
  shapes = {jax.tree_util.keystr(path): leaf.shape for path, leaf in leaves}
  layers = {path: cost.Layer(r, *shapes[path]) for path, r in num_rows.items()}
  return cost.choose(
      layers,
      refused=refused,
      num_steps=num_steps,
      implementation=implementation,
  )


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
