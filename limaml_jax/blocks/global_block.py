"""Global block: scores one row from meta embeddings and regular features.

Shared by all entities, constant in the inner loop, and all that runs online.
"""

from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from limaml_jax import config as config_lib
from limaml_jax import types


def init(
    key: jax.Array,
    config: config_lib.GlobalBlockConfig,
    *,
    embedding_sizes: dict[types.EntityType, int],
    num_features: int,
) -> types.Params:
  """Returns parameters for embeddings of those sizes, features [F]."""
  embeddings = {t: jnp.zeros((n,)) for t, n in embedding_sizes.items()}
  features = jnp.zeros((num_features,))
  return _GlobalBlock(config).init(key, embeddings, features)['params']


def apply(
    params: types.Params,
    embeddings: dict[types.EntityType, jax.Array],
    features: jax.Array,
    *,
    config: config_lib.GlobalBlockConfig,
) -> jax.Array:
  """Maps meta embeddings, [E] by entity type, and features, [F], to a logit."""
  module = _GlobalBlock(config)
  return cast(jax.Array, module.apply({'params': params}, embeddings, features))


class _GlobalBlock(nn.Module):
  """Optional cross layers, hidden layers with ReLU, optional linear path."""

  config: config_lib.GlobalBlockConfig

  @nn.compact
  def __call__(
      self,
      embeddings: dict[types.EntityType, jax.Array],
      features: jax.Array,
  ) -> jax.Array:
    ordered = [embeddings[t] for t in sorted(embeddings)]
    inputs = jnp.concatenate([*ordered, features])
    hidden = inputs
    for _ in range(self.config.num_cross_layers):
      hidden = inputs * nn.Dense(inputs.size)(hidden) + hidden
    for width in self.config.widths:
      hidden = nn.relu(nn.Dense(width)(hidden))
    logit = nn.Dense(1)(hidden)
    if self.config.wide:
      logit += nn.Dense(1, use_bias=False, name='wide')(inputs)
    return logit[0]
