"""Loss of one task: masked mean cross-entropy of its rows (METHOD, l)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from limaml_jax import types

EmbedFn = Callable[[types.Params, dict[str, jax.Array]], dict[str, jax.Array]]
LogitFn = Callable[
    [types.Params, dict[str, jax.Array], jax.Array], jax.Array
]


def task_logits(
    meta_params: types.Params,
    global_params: types.Params,
    examples: types.Examples,
    *,
    embed: EmbedFn,
    logit: LogitFn,
) -> jax.Array:
  """Scores the encoded rows of one task, [S] logits.

  The meta block runs once per distinct input row: once when the meta features
  belong to the entity (R = 1), else once per row (R = S).
  """
  embeddings = embed(meta_params, examples.meta_features)
  num_inputs = {rows.shape[0] for rows in embeddings.values()}
  if num_inputs == {1}:
    of_entity = {t: rows[0] for t, rows in embeddings.items()}
    score_rows = jax.vmap(logit, in_axes=(None, None, 0))
    return score_rows(global_params, of_entity, examples.features)
  score_rows = jax.vmap(logit, in_axes=(None, 0, 0))
  return score_rows(global_params, embeddings, examples.features)


def make_task_loss(embed: EmbedFn, logit: LogitFn) -> types.TaskLossFn:
  """Returns the mean cross-entropy of a task; 0 when all rows are padding."""

  def task_loss(
      meta_params: types.Params,
      global_params: types.Params,
      examples: types.Examples,
  ) -> jax.Array:
    logits = task_logits(
        meta_params, global_params, examples, embed=embed, logit=logit
    )
    losses = optax.sigmoid_binary_cross_entropy(logits, examples.labels)
    # Divided by at least 1: an empty support has loss 0 and gradient 0.
    num_rows = jnp.maximum(jnp.sum(examples.mask), 1)
    return jnp.sum(losses * examples.mask) / num_rows

  return task_loss
