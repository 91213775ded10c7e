"""Meta block: turns the meta features of an entity into its meta embedding.

The only part of the network that the inner loop changes, hence the only part
whose parameters ever differ between entities (LiMAML, section 4). It maps all
R distinct input rows of a task at once: an adapted kernel is R rows' factors.
"""

from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.linear import dense

_ACTIVATIONS = {
    'relu': nn.relu,
    'gelu': nn.gelu,
    'tanh': nn.tanh,
    'silu': nn.silu,
}


def init(
    key: jax.Array,
    config: config_lib.MetaBlockConfig,
    *,
    num_features: int,
) -> types.Params:
  """Returns the shared initialization, for meta features [num_features]."""
  features = jnp.zeros((1, num_features))
  return _module(config).init(key, features)['params']


def apply(
    params: types.Params,
    features: jax.Array,
    *,
    config: config_lib.MetaBlockConfig,
) -> jax.Array:
  """Maps encoded meta features, [R, F], to their embeddings, [R, E]."""
  embeddings = _module(config).apply({'params': params}, features)
  return cast(jax.Array, embeddings)


def _module(config: config_lib.MetaBlockConfig) -> nn.Module:
  return _IdEmbedding(config) if config.kind == 'id_embedding' else _Mlp(config)


class _Mlp(nn.Module):
  """Hidden layers, and a linear layer to the embedding."""

  config: config_lib.MetaBlockConfig

  @nn.compact
  def __call__(self, features: jax.Array) -> jax.Array:
    config = self.config
    hidden = dense.to_compute_dtype(features, config.compute_dtype)
    for width in config.widths:
      hidden = dense.Dense(hidden.shape[-1], width)(hidden)
      if config.layer_norm:
        hidden = nn.LayerNorm()(hidden).astype(hidden.dtype)
      hidden = _ACTIVATIONS[config.activation](hidden)
    embedding = dense.Dense(hidden.shape[-1], config.embedding_size)(hidden)
    return embedding.astype(features.dtype)


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
    row, attributes = features[..., :size], features[..., size:]
    offset = self.param('offset', nn.initializers.zeros, (size,))
    if not attributes.shape[-1]:
      return row + offset
    return row + offset + _Mlp(self.config)(attributes)
