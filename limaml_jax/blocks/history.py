"""History encoder: sums up the labelled rows of a task, prefix by prefix.

What of an entity's past its meta block reads beside its features. The outer
loop trains it and the inner loop leaves it alone, so it runs once for a task.
A prefix knows no row behind it: the summary that a support row is learned with
is of strictly earlier rows, the one that makes the embedding is of all.

A row of weight w counts like w rows of weight 1; one of weight 0 is padding.
"""

from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.linear import dense

_NUM_DISTANCES = 32  # Rows farther back than this are all as far.
_HIDDEN_FACTOR = 2  # Width of a transformer's MLPs, in widths of a row.


def init(
    key: jax.Array, config: config_lib.MetaBlockConfig, *, num_features: int
) -> types.Params:
  """Returns parameters for rows of [num_features]."""
  rows = jnp.zeros((1, num_features))
  one = jnp.ones(1)
  return _module(config).init(key, rows, one, one)['params']


def summary_size(config: config_lib.MetaBlockConfig) -> int:
  """Returns H, the numbers in a summary."""
  return config.history_width + 1


def apply(
    params: types.Params,
    rows: jax.Array,
    labels: types.Array,
    weights: types.Array,
    *,
    config: config_lib.MetaBlockConfig,
) -> jax.Array:
  """Sums up each prefix of a task's rows, after 0 to S of them, [S + 1, H].

  Args:
    params: of the encoder.
    rows: what the global block reads, encoded, oldest first, [S, F].
    labels: 0 or 1, or between, [S].
    weights: of the rows, [S].
    config: of the meta block.
  """
  summaries = _module(config).apply({'params': params}, rows, labels, weights)
  counts = jnp.log1p(jnp.pad(jnp.cumsum(weights), (1, 0)))[:, None]
  # In their own precision, whatever the encoder computes in.
  joined = [cast(jax.Array, summaries), counts.astype(rows.dtype)]
  return jnp.concatenate(joined, axis=1, dtype=rows.dtype)


def prefixes(weights: types.Array, ages: types.Array | None) -> jax.Array:
  """Returns how long a prefix the embedding and each row may know, [S + 1].

  Args:
    weights: of a task's rows, oldest first, [S].
    ages: of the same, in seconds, [S]; rows of the same age do not know of
      each other. When left out, no two are.

  Returns:
    First that of the embedding, up to the last real row, then those of rows.
  """
  position = jnp.arange(weights.size)
  whole = jnp.max(jnp.where(weights > 0, position + 1, 0))
  if ages is not None:
    position = jnp.sum(ages[None, :] > ages[:, None], axis=1)
  return jnp.concatenate([whole[None], position])


def append(
    features: jax.Array, summaries: jax.Array, lengths: jax.Array
) -> jax.Array:
  """Appends summaries to the meta features of a task, [S + 1, F + H].

  Args:
    features: of the entity, [1, F], or of each row, [S, F].
    summaries: of the prefixes, [S + 1, H].
    lengths: from `prefixes`.

  Returns:
    The meta block's inputs: the first makes the embedding, the others go with
    the rows. What varies from row to row, the embedding has from the latest.
  """
  if features.shape[0] == 1:
    features = jnp.broadcast_to(
        features, (summaries.shape[0], features.shape[1])
    )
  else:
    latest = jnp.maximum(lengths[0] - 1, 0)
    features = jnp.concatenate([features[latest][None], features])
  return jnp.concatenate([features, summaries[lengths]], axis=1)


def _module(config: config_lib.MetaBlockConfig) -> nn.Module:
  modules = {'deep_sets': _DeepSets, 'transformer': _Transformer}
  return modules[config.kind](config)


def _read_events(
    rows: jax.Array, labels: types.Array, config: config_lib.MetaBlockConfig
) -> jax.Array:
  """Maps rows to a layer's inputs; either label has its half of the kernel."""
  positive = labels[:, None].astype(rows.dtype)
  events = [rows * positive, rows * (1 - positive), positive]
  return dense.to_compute_dtype(
      jnp.concatenate(events, axis=1), config.compute_dtype
  )


class _DeepSets(nn.Module):
  """The mean of an MLP of each row (Zaheer et al. 2017); 0 of no row."""

  config: config_lib.MetaBlockConfig

  @nn.compact
  def __call__(
      self, rows: jax.Array, labels: types.Array, weights: types.Array
  ) -> jax.Array:
    width = self.config.history_width
    hidden = _read_events(rows, labels, self.config)
    for _ in range(self.config.history_layers):
      hidden = nn.relu(dense.Dense(hidden.shape[-1], width)(hidden))
    # One small product for all prefixes: XLA's own running sums are slow.
    earlier = jnp.tri(weights.size + 1, weights.size, -1) * weights
    total = jnp.sum(earlier, axis=1, keepdims=True)
    shares = earlier / jnp.where(total > 0, total, 1)
    return shares.astype(hidden.dtype) @ hidden


class _Transformer(nn.Module):
  """Pre-LN causal self-attention over rows, behind a learned start row."""

  config: config_lib.MetaBlockConfig

  @nn.compact
  def __call__(
      self, rows: jax.Array, labels: types.Array, weights: types.Array
  ) -> jax.Array:
    width = self.config.history_width
    inputs = _read_events(rows, labels, self.config)
    start = self.param('start', nn.initializers.normal(0.1), (1, width))
    events = dense.Dense(inputs.shape[-1], width)(inputs)
    hidden = jnp.concatenate([start.astype(events.dtype), events])
    for _ in range(self.config.history_layers):
      hidden += _Attention(self.config.history_heads)(_norm(hidden), weights)
      wide = dense.Dense(width, _HIDDEN_FACTOR * width)(_norm(hidden))
      hidden += dense.Dense(_HIDDEN_FACTOR * width, width)(nn.gelu(wide))
    return _norm(hidden)


class _Attention(nn.Module):
  """Each row attends to itself and earlier ones; how far back they lie tells.

  Distances are counted in real rows from the row that attends: every prefix
  sees positions from its own end.
  """

  num_heads: int

  @nn.compact
  def __call__(self, rows: jax.Array, weights: types.Array) -> jax.Array:
    num_rows, width = rows.shape
    projected = dense.Dense(width, 3 * width)(rows)
    queries, keys, values = projected.reshape(
        num_rows, 3, self.num_heads, width // self.num_heads
    ).transpose(1, 2, 0, 3)
    bias = self.param(
        'distance', nn.initializers.zeros, (self.num_heads, _NUM_DISTANCES)
    )
    ranks = jnp.pad(jnp.cumsum(weights > 0), (1, 0))
    distances = jnp.clip(ranks[:, None] - ranks, 0, _NUM_DISTANCES - 1)
    scores = jnp.einsum('hqd,hkd->hqk', queries, keys).astype(bias.dtype)
    scores = scores / jnp.sqrt(width // self.num_heads) + bias[:, distances]
    counts = jnp.pad(weights, (1, 0), constant_values=1) * jnp.tri(num_rows)
    logs = jnp.log(jnp.where(counts > 0, counts, 1))
    shares = nn.softmax(jnp.where(counts > 0, scores + logs, -jnp.inf))
    heads = jnp.einsum('hqk,hkd->qhd', shares.astype(rows.dtype), values)
    return dense.Dense(width, width)(heads.reshape(num_rows, width))


def _norm(rows: jax.Array) -> jax.Array:
  return nn.LayerNorm()(rows).astype(rows.dtype)
