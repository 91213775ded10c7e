"""Global block: scores one row from meta embeddings and regular features.

Shared by all entities, constant in the inner loop, and all that runs online.
Its first layer comes in two halves: what the features contribute is computed
once for all inner steps, what an embedding contributes once for all rows.
"""

from collections.abc import Callable
from collections.abc import Sequence
import itertools
from typing import NamedTuple
from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.linear import dense
from limaml_jax.linear import relu_stack

StackFn = Callable[[jax.Array, Sequence[relu_stack.Layer]], jax.Array]


class Prepared(NamedTuple):
  """Whatever of one row does not depend on any embedding.

  Attributes:
    features: [F].
    first: the features' half of the first layer, bias included, [width].
    wide: the features' half of the linear path, [1].
    bilinear: what an embedding is multiplied with on the bilinear path, [E].
  """

  features: jax.Array
  first: jax.Array
  wide: jax.Array
  bilinear: jax.Array


def init(
    key: jax.Array,
    config: config_lib.GlobalBlockConfig,
    *,
    embedding_sizes: dict[types.EntityType, int],
    num_features: int,
) -> types.Params:
  """Returns parameters for embeddings of those sizes, features [F]."""
  num_inputs = sum(embedding_sizes.values()) + num_features
  module = _GlobalBlock(config, num_inputs, num_features)
  return module.init(key, jnp.zeros((num_inputs,)))['params']


def prepare(
    params: types.Params,
    features: jax.Array,
    *,
    config: config_lib.GlobalBlockConfig,
) -> Prepared:
  """Runs the half that reads regular features, [F], and no embedding."""
  module = _GlobalBlock(config, _num_inputs(params, config), features.size)
  prepared = module.apply(
      {'params': params}, features, method=_GlobalBlock.prepare
  )
  return cast(Prepared, prepared)


def apply(
    params: types.Params,
    embeddings: dict[types.EntityType, jax.Array],
    prepared: Prepared,
    *,
    config: config_lib.GlobalBlockConfig,
) -> jax.Array:
  """Maps meta embeddings, [E] by entity type, and a prepared row to a logit."""
  return _apply(params, embeddings, prepared, config, relu_stack.logit)


def apply_in_inner_loop(
    params: types.Params,
    embeddings: dict[types.EntityType, jax.Array],
    prepared: Prepared,
    *,
    config: config_lib.GlobalBlockConfig,
) -> jax.Array:
  """Returns what `apply` does; differentiating it twice costs half."""
  return _apply(params, embeddings, prepared, config, relu_stack.logit_by_slope)


def _apply(params, embeddings, prepared, config, run_stack) -> jax.Array:
  ordered = jnp.concatenate([embeddings[t] for t in sorted(embeddings)])
  module = _GlobalBlock(
      config, _num_inputs(params, config), prepared.features.size, run_stack
  )
  logit = module.apply(
      {'params': params}, ordered, prepared, method=_GlobalBlock.logit
  )
  return cast(jax.Array, logit)


def _num_inputs(
    params: types.Params, config: config_lib.GlobalBlockConfig
) -> int:
  names = ('cross_0',) * bool(config.num_cross_layers)
  names += ('hidden_0',) * bool(config.widths)
  return params[(*names, 'last')[0]]['kernel'].shape[0]


class _GlobalBlock(nn.Module):
  """Cross layers, hidden layers with ReLU, linear and bilinear path, if any."""

  config: config_lib.GlobalBlockConfig
  num_inputs: int
  num_features: int
  run_stack: StackFn = relu_stack.logit

  def setup(self):
    size = self.num_inputs
    num_cross = self.config.num_cross_layers
    self.cross = [dense.Dense(size, size) for _ in range(num_cross)]
    widths = (size, *self.config.widths)
    self.hidden = [
        dense.Dense(*sizes) for sizes in itertools.pairwise(widths)
    ]
    self.last = dense.Dense(widths[-1], 1)
    if self.config.wide:
      self.wide = dense.Dense(size, 1, use_bias=False)
    if self.config.bilinear:
      self.bilinear = dense.Dense(
          self.num_features, size - self.num_features, use_bias=False
      )

  def __call__(self, inputs: jax.Array) -> jax.Array:
    split = self.num_inputs - self.num_features
    return self.logit(inputs[:split], self.prepare(inputs[split:]))

  def prepare(self, features: jax.Array) -> Prepared:
    features = dense.to_compute_dtype(features, self.config.compute_dtype)
    start = self.num_inputs - self.num_features
    first = self._layers()[0]
    nothing = jnp.zeros(1, features.dtype)
    return Prepared(
        features=features,
        first=first.add_bias(first.part(features, start)),
        wide=self.wide.part(features, start) if self.config.wide else nothing,
        bilinear=self.bilinear(features) if self.config.bilinear else nothing,
    )

  def logit(self, embedding: jax.Array, prepared: Prepared) -> jax.Array:
    embedding = dense.to_compute_dtype(embedding, self.config.compute_dtype)
    first, *others = self._layers()
    hidden = prepared.first + first.part(embedding, 0)
    if self.cross:
      inputs = jnp.concatenate([embedding, prepared.features])
      hidden = inputs * hidden + inputs
      for layer in self.cross[1:]:
        hidden = inputs * layer(hidden) + hidden
      others = [*self.hidden, self.last]
      hidden, others = others[0](hidden), others[1:]
    stack = [relu_stack.Layer(layer.kernel, layer.bias) for layer in others]
    logit = self.run_stack(hidden, stack) if stack else hidden[0]
    if self.config.wide:
      logit += (prepared.wide + self.wide.part(embedding, 0))[0]
    if self.config.bilinear:
      logit += jnp.sum(embedding * prepared.bilinear)
    return logit.astype(self.last.kernel.dtype)

  def _layers(self) -> list[dense.Dense]:
    return [*self.cross, *self.hidden, self.last]
