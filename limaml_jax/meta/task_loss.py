"""Loss of one task: weighted mean cross-entropy of its rows (METHOD, l).

Support rows are scored with the embedding of their own meta features: that is
what the inner loop descends. Query rows are scored as serving will score them,
with the one meta embedding that the adapted block makes of the support.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from limaml_jax import types
from limaml_jax.meta import embeddings

LogitFn = Callable[
    [types.Params, embeddings.ByType, types.EncodedFeatures], jax.Array
]


def task_logits(
    meta_params: types.Params,
    global_params: types.Params,
    examples: types.Examples,
    *,
    embed: embeddings.EmbedFn,
    logit: LogitFn,
) -> jax.Array:
  """Scores the encoded rows of one task, each with its own inputs, [S] logits.

  The meta block runs once per distinct input row: once when the meta features
  belong to the entity, else once per row.
  """
  embedded = embed(meta_params, embeddings.row_inputs(examples))
  return _row_logits(embedded, global_params, examples.features, logit)


def query_logits(
    adapted: types.Params,
    global_params: types.Params,
    support: types.Examples,
    query: types.Examples,
    *,
    embed: embeddings.EmbedFn,
    logit: LogitFn,
    pooling: str,
) -> jax.Array:
  """Scores a query with the one meta embedding of its support, [Q] logits."""
  pooled = embeddings.embed_support(
      adapted, support, embed=embed, pooling=pooling
  )
  one_for_all = {t: embedding[None] for t, embedding in pooled.items()}
  return _row_logits(one_for_all, global_params, query.features, logit)


def _row_logits(
    embedded: embeddings.ByType,
    global_params: types.Params,
    features: types.EncodedFeatures,
    logit: LogitFn,
) -> jax.Array:
  """Scores S rows, with one embedding for all, [1, E], or one each."""
  shared = {t: e[0] for t, e in embedded.items() if e.shape[0] == 1}
  varying = {t: e for t, e in embedded.items() if t not in shared}

  def score_row(own, row_features):
    return logit(global_params, shared | own, row_features)

  return jax.vmap(score_row)(varying, features)


def mean_loss(logits: jax.Array, examples: types.Examples) -> jax.Array:
  """Returns the weighted mean cross-entropy; 0 when all rows are padding."""
  losses = optax.sigmoid_binary_cross_entropy(logits, examples.labels)
  total = jnp.sum(examples.mask)
  # Never divided by 0: an empty support has loss 0 and gradient 0.
  total = jnp.where(total > 0, total, 1)
  return jnp.sum(losses * examples.mask) / total


def make_task_loss(
    embed: embeddings.EmbedFn, logit: LogitFn
) -> types.TaskLossFn:
  """Returns the loss of a support set, each row with its own embedding."""

  def task_loss(meta_params, global_params, examples):
    logits = task_logits(
        meta_params, global_params, examples, embed=embed, logit=logit
    )
    return mean_loss(logits, examples)

  return task_loss


def make_query_loss(
    embed: embeddings.EmbedFn, logit: LogitFn, *, pooling: str
) -> types.QueryLossFn:
  """Returns the loss of a query scored with the support's meta embedding."""

  def query_loss(adapted, global_params, support, query):
    logits = query_logits(
        adapted,
        global_params,
        support,
        query,
        embed=embed,
        logit=logit,
        pooling=pooling,
    )
    return mean_loss(logits, query)

  return query_loss
