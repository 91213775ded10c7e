"""Meta block: turns the meta features of an entity into its meta embedding.

The only part of the network that the inner loop changes, hence the only part
whose parameters ever differ between entities (LiMAML, section 4).
"""

from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from limaml_jax import config as config_lib
from limaml_jax import types


def module(config: config_lib.MetaBlockConfig) -> nn.Module:
  """Returns the module of the configured kind."""
  return _IdEmbedding(config) if config.kind == 'id_embedding' else _Mlp(config)


def init(
    key: jax.Array,
    config: config_lib.MetaBlockConfig,
    *,
    num_features: int,
) -> types.Params:
  """Returns the shared initialization, for meta features [num_features]."""
  features = jnp.zeros((num_features,))
  return module(config).init(key, features)['params']


def apply(
    params: types.Params,
    features: jax.Array,
    *,
    config: config_lib.MetaBlockConfig,
) -> jax.Array:
  """Maps the encoded meta features of one row, [F], to its embedding, [E]."""
  embedding = module(config).apply({'params': params}, features)
  return cast(jax.Array, embedding)


class _Mlp(nn.Module):
  """Hidden layers with ReLU, and a linear layer to the embedding."""

  config: config_lib.MetaBlockConfig

  @nn.compact
  def __call__(self, features: jax.Array) -> jax.Array:
    for width in self.config.widths:
      features = nn.relu(nn.Dense(width)(features))
    return nn.Dense(self.config.embedding_size)(features)


class _IdEmbedding(nn.Module):
  """The entity's own row plus `offset`, plus an MLP of its other features.

  The row arrives gathered, as the first E features, so no table is ever
  touched here. A gradient step on `offset` moves the embedding exactly as the
  same step on the row would: the adapted object is the row.
  """

  config: config_lib.MetaBlockConfig

  @nn.compact
  def __call__(self, features: jax.Array) -> jax.Array:
    size = self.config.embedding_size
    row, attributes = features[:size], features[size:]
    offset = self.param('offset', nn.initializers.zeros, (size,))
    if not attributes.size:
      return row + offset
    return row + offset + _Mlp(self.config)(attributes)
