"""Ranking losses of one query: what orders its rows, at whatever level.

Cross-entropy learns from each row how often its label is 1; these learn from
rows of one task against each other, as GAUC judges them.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from limaml_jax import types

# (logits [Q], labelled rows) -> [].
RankingLossFn = Callable[[jax.Array, types.Examples], jax.Array]


def pairwise(logits: jax.Array, examples: types.Examples) -> jax.Array:
  """Returns the mean logistic loss of positive above negative, over pairs.

  A pair counts by the product of its rows' weights, and where labels are
  between 0 and 1 by how much the one is positive and the other negative.
  Without a pair it is 0.

  Args:
    logits: of the rows, [Q].
    examples: their labels and weights, 0 for padding, [Q].
  """
  positive = examples.mask * examples.labels
  negative = examples.mask * (1.0 - examples.labels)
  # A row that is neither 0 nor 1 is no pair with itself.
  weights = positive[:, None] * negative * (1.0 - jnp.eye(logits.size))
  losses = jax.nn.softplus(logits - logits[:, None])
  return _mean(losses, weights)


def listwise(logits: jax.Array, examples: types.Examples) -> jax.Array:
  """Returns the mean over positives of -log softmax, among all rows.

  Rows count by weight above and below, and above by their label, too, where
  that is between 0 and 1. Where all labels are 0, or all are 1, it is 0.

  Args:
    logits: of the rows, [Q].
    examples: their labels and weights, 0 for padding, [Q].
  """
  weights = examples.mask * examples.labels
  both = jnp.sum(weights) < jnp.sum(examples.mask)
  any_row = jnp.sum(examples.mask) > 0
  # The logarithm of no rows at all has no gradient.
  among = jnp.where(any_row, examples.mask, 1.0)
  total = jax.nn.logsumexp(logits, b=among)
  return _mean(total - logits, jnp.where(both, weights, 0.0))


def _mean(losses: jax.Array, weights: types.Array) -> jax.Array:
  """Returns the mean by weight, 0 without any."""
  total = jnp.sum(weights)
  return jnp.sum(weights * losses) / jnp.where(total > 0, total, 1)


BY_NAME = {'pairwise': pairwise, 'listwise': listwise}
