"""Outer loop: the meta loss of a meta-batch, differentiated through `adapt`."""

from collections.abc import Callable
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.meta import inner_loop
from limaml_jax.meta import objective as objective_lib

EncodeFn = Callable[[types.BlockParams, types.Examples], types.Examples]


class MetaLosses(NamedTuple):
  """Losses of one meta-batch, means over its tasks by their weight.

  Attributes:
    query_loss: after adaptation, [].
    support_losses: before each inner step, [K].
  """

  query_loss: jax.Array
  support_losses: jax.Array


MetaLossFn = Callable[
    [types.BlockParams, types.Episode], tuple[jax.Array, MetaLosses]
]


def make_meta_loss(
    *,
    encode: EncodeFn,
    loss_fn: types.TaskLossFn,
    query_loss_fn: types.QueryLossFn,
    config: config_lib.InnerLoopConfig,
    objective: objective_lib.ObjectiveFn | None = None,
) -> MetaLossFn:
  """Returns the meta loss, mean over tasks of weight x objective.

  Args:
    encode: looks up embedding tables, and runs what of the global block no
      meta embedding changes, for one task.
    loss_fn: mean loss of one encoded support set, what `adapt` descends.
    query_loss_fn: mean loss of one encoded query with what was adapted.
    config: of the inner loop.
    objective: what is minimized; the query loss when left out.

  Returns:
    (parameters, meta-batch with leaves [T, ...]) -> meta loss and MetaLosses.
  """

  def episode_losses(params, learning_rates, episode):
    support = encode(params, episode.support)
    query = encode(params, episode.query)
    path, support_losses = inner_loop.adapt_path(
        params.meta_block,
        params.global_block,
        support,
        loss_fn=loss_fn,
        learning_rates=learning_rates,
        prior_rows=config.prior_rows,
        first_order=config.first_order,
        implementation=config.implementation,
        remat=config.remat,
    )
    arguments = (params.global_block, support, query)
    query_loss = query_loss_fn(path[-1], *arguments)
    minimized = objective(path, *arguments) if objective else query_loss
    return minimized, query_loss, support_losses

  def meta_loss(params, meta_batch):
    learning_rates = inner_loop.make_learning_rates(
        params.meta_block, params.inner_rates, config
    )
    per_task = functools.partial(episode_losses, params, learning_rates)
    minimized, query_losses, support_losses = jax.vmap(per_task)(meta_batch)
    weights = meta_batch.weight
    total = jnp.maximum(jnp.sum(weights), 1e-6)  # All tasks may be padding.
    losses = MetaLosses(
        query_loss=jnp.sum(weights * query_losses) / total,
        support_losses=weights @ support_losses / total,
    )
    # Divided by T, not by the weights' sum: a batch of long queries counts
    # for more than a batch of short ones.
    return jnp.mean(weights * minimized), losses

  return meta_loss


def order_name(config: config_lib.InnerLoopConfig) -> str:
  """Names the order of the meta-gradient that runs, for logs."""
  if not config.num_steps:
    return 'joint training, no inner loop'
  if config.first_order:
    return f'first order (FOMAML), K={config.num_steps}'
  return f'second order (exact meta-gradient), K={config.num_steps}'
