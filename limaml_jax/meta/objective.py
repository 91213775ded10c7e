"""Objective: what a task contributes to the meta loss, by how it adapted.

    sum_k w_k (query loss + ranking)(theta_k) + penalty |e_K - e_0|^2

with w_K = 1 and the rest 0 unless the settings say otherwise. Terms whose
coefficient is 0 are not computed.
"""

from collections.abc import Callable
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.meta import embeddings
from limaml_jax.meta import ranking_loss
from limaml_jax.meta import task_loss

# (meta block after 0, 1, ... K steps, global_params, support, query) -> [].
ObjectiveFn = Callable[
    [Sequence[types.Params], types.Params, types.Examples, types.Examples],
    jax.Array,
]


def make_objective(
    embed: embeddings.EmbedFn,
    logit: task_loss.LogitFn,
    *,
    pooling: str,
    config: config_lib.OuterLoopConfig,
) -> ObjectiveFn:
  """Returns what a task contributes to the meta loss.

  Args:
    embed: meta block's function.
    logit: global block's function, of one row.
    pooling: of a support's embeddings.
    config: its shares and coefficients are read.
  """
  rank = ranking_loss.BY_NAME[config.ranking_loss]

  def query_loss(adapted, global_params, support, query):
    logits = task_loss.query_logits(
        adapted,
        global_params,
        support,
        query,
        embed=embed,
        logit=logit,
        pooling=pooling,
    )
    loss = task_loss.mean_loss(logits, query)
    if config.ranking_weight:
      loss += config.ranking_weight * rank(logits, query)
    return loss

  def distance(path, support):
    first, last = (
        embeddings.embed_support(params, support, embed=embed, pooling=pooling)
        for params in (path[0], path[-1])
    )
    return sum(jnp.sum((last[t] - first[t]) ** 2) for t in first)

  def objective(path, global_params, support, query):
    total = jnp.zeros(())
    shares = step_shares(len(path) - 1, config.early_loss_share)
    for params, share in zip(path, shares, strict=True):
      if share:
        total += share * query_loss(params, global_params, support, query)
    if config.embedding_penalty:
      total += config.embedding_penalty * distance(path, support)
    return total

  return objective


def step_shares(num_steps: int, early: float) -> tuple[float, ...]:
  """Returns the shares of the query losses after 0, 1, ... K steps.

  Args:
    num_steps: K; below 2 the last loss has all.
    early: what those after steps 1 to K - 1 share evenly.
  """
  if num_steps < 2:
    return (0.0,) * num_steps + (1.0,)
  each = early / (num_steps - 1)
  return (0.0, *(each,) * (num_steps - 1), 1.0 - early)


def is_plain(config: config_lib.OuterLoopConfig) -> bool:
  """Says whether the objective is the query loss after the last step."""
  return not (
      config.early_loss_share
      or config.embedding_penalty
      or config.ranking_weight
  )
