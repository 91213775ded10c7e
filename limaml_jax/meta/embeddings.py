"""Meta embedding of one entity: the adapted meta block's output, pooled."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.meta import inner_loop

# Meta embeddings or, before the meta block, its inputs, by entity type.
ByType = dict[types.EntityType, jax.Array]
EmbedFn = Callable[[types.Params, ByType], ByType]


def pool(rows: jax.Array, mask: types.Array, *, pooling: str) -> jax.Array:
  """Pools the embeddings of a task's rows, [R, E] to [E] (LiMAML, 4.3.3).

  Args:
    rows: one row (R = 1), or one per support row, oldest first.
    mask: weights of the support rows, [S]; not read when R = 1.
    pooling: 'latest', the 'mean' by weight, or 'max'.

  Returns:
    The meta embedding. Without any real support row it is the first row: the
    caller puts the default inputs there.
  """
  if rows.shape[0] == 1:
    return rows[0]
  if pooling == 'latest':
    last = jnp.argmax(jnp.where(mask > 0, jnp.arange(mask.size), -1))
    return rows[last]
  any_row = jnp.sum(mask) > 0
  weights = jnp.where(any_row, mask, jnp.arange(mask.size) == 0)
  if pooling == 'mean':
    return weights @ rows / jnp.sum(weights)
  return jnp.max(jnp.where(weights[:, None] > 0, rows, -jnp.inf), axis=0)


def embed_support(
    adapted: types.Params,
    support: types.Examples,
    *,
    embed: EmbedFn,
    pooling: str,
) -> ByType:
  """Returns the meta embedding that an adapted block makes of a support, [E].

  Args:
    adapted: meta block.
    support: encoded support set of one task.
    embed: meta block's function.
    pooling: see `pool`.
  """
  inputs = {
      entity_type: rows[:1] if _has_own(rows, support) else rows
      for entity_type, rows in support.meta_features.items()
  }
  return {
      entity_type: pool(rows, support.mask, pooling=pooling)
      for entity_type, rows in embed(adapted, inputs).items()
  }


def row_inputs(examples: types.Examples) -> ByType:
  """Returns the meta block's inputs of a task's rows, [1, F] or [S, F]."""
  return {
      entity_type: rows[1:] if _has_own(rows, examples) else rows
      for entity_type, rows in examples.meta_features.items()
  }


def _has_own(rows: jax.Array, examples: types.Examples) -> bool:
  """Says whether the embedding has an input apart from those of the rows."""
  return rows.shape[0] == 1 + examples.mask.size


def meta_embedding(
    params: types.BlockParams,
    support: types.Examples,
    *,
    embed: EmbedFn,
    loss_fn: types.TaskLossFn,
    config: config_lib.Config,
) -> dict[types.EntityType, jax.Array]:
  """Adapts to one entity's encoded support and returns its embedding, [E].

  The entity axis N belongs to the caller. With no real support row this is
  the unadapted meta block's output, the entity's default embedding.
  """
  learning_rates = inner_loop.make_learning_rates(
      params.meta_block, params.inner_rates, config.inner_loop
  )
  adapted, _ = inner_loop.adapt(
      params.meta_block,
      params.global_block,
      support,
      loss_fn=loss_fn,
      learning_rates=learning_rates,
      prior_rows=config.inner_loop.prior_rows,
      implementation=config.inner_loop.implementation,
  )
  return embed_support(
      adapted,
      support,
      embed=embed,
      pooling=config.model.meta_block.pooling,
  )
