"""The whole network as four pure functions over explicit parameters."""

from collections.abc import Callable
from collections.abc import Sequence
import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax import types
from limaml_jax.blocks import encoder
from limaml_jax.blocks import ensemble
from limaml_jax.blocks import global_block
from limaml_jax.blocks import history
from limaml_jax.blocks import meta_block

LogitFn = Callable[
    [types.Params, dict[types.EntityType, jax.Array], global_block.Prepared],
    jax.Array,
]


class Readers(NamedTuple):
  """Which features each block reads, in order."""

  meta: dict[types.EntityType, tuple[types.FeatureSpec, ...]]
  regular: tuple[types.FeatureSpec, ...]


class Model(NamedTuple):
  """The network; the axes of tasks and of members belong to the caller.

  Attributes:
    init: random key -> parameters of all members of the ensemble; the other
      functions take those of one.
    index: raw Examples, any leading axes -> Examples of table rows.
    encode: parameters, indexed Examples of one task -> encoded Examples: what
      of the network no meta embedding changes.
    embed: meta blocks, encoded meta features {type: [R, F]} -> meta
      embeddings {type: [R, E]}.
    logit: global block, meta embeddings {type: [E]} and encoded features of
      one row -> logit, [].
    inner_logit: the same function, written for what is differentiated twice.
    meta_specs: of the features that the meta block reads, in order.
    global_specs: of the features that the global block reads, in order.
    layout: of the embedding tables.
  """

  init: Callable[[jax.Array], types.BlockParams]
  index: Callable[[types.Examples], types.Examples]
  encode: Callable[[types.BlockParams, types.Examples], types.Examples]
  embed: Callable[[types.Params, dict[str, jax.Array]], dict[str, jax.Array]]
  logit: LogitFn
  inner_logit: LogitFn
  meta_specs: tuple[types.FeatureSpec, ...]
  global_specs: tuple[types.FeatureSpec, ...]
  layout: encoder.Layout


def make_model(
    config: config_lib.Config,
    *,
    specs: Sequence[types.FeatureSpec],
    entity_type: types.EntityType,
    entity_feature: str,
) -> Model:
  """Builds the network for one adapted entity type.

  Args:
    config: its `model`, `inner_loop` and `training.mesh_rows` are read.
    specs: of the prepared dataset.
    entity_type: the adapted one.
    entity_feature: the ID feature of that type; only an 'id_embedding' sees it.

  Raises:
    InputError: if the meta block has nothing to read.
  """
  meta_specs = select_meta_specs(specs, config.model, entity_feature)
  if not meta_specs and not config.model.meta_block.reads_history:
    raise errors.InputError(
        f'no feature for the meta block of {entity_type}: give one the role '
        '"meta" in the schema, or set model.meta_block.kind to id_embedding,'
        ' deep_sets or transformer'
    )
  global_specs = select_global_specs(specs)
  layout = encoder.make_layout(
      (*meta_specs, *global_specs),
      max_dimension=config.model.max_table_dimension,
      dimensions={entity_feature: config.model.meta_block.embedding_size},
  )
  readers = Readers({entity_type: meta_specs}, global_specs)
  return Model(
      init=functools.partial(
          ensemble.init,
          functools.partial(
              _init, config=config, readers=readers, layout=layout
          ),
          size=config.model.ensemble_size,
      ),
      index=functools.partial(_index, readers=readers, layout=layout),
      encode=functools.partial(
          _encode, readers=readers, layout=layout, config=config.model
      ),
      embed=functools.partial(_embed, config=config.model.meta_block),
      logit=functools.partial(
          global_block.apply, config=config.model.global_block
      ),
      inner_logit=functools.partial(
          global_block.apply_in_inner_loop, config=config.model.global_block
      ),
      meta_specs=meta_specs,
      global_specs=global_specs,
      layout=layout,
  )


def select_meta_specs(
    specs: Sequence[types.FeatureSpec],
    config: config_lib.ModelConfig,
    entity_feature: str,
) -> tuple[types.FeatureSpec, ...]:
  """Returns what the meta block reads; an ID embedding's own row is first."""
  own = [s for s in specs if s.name == entity_feature]
  others = [
      s
      for s in specs
      if s.role in ('meta', 'both') and s.name != entity_feature
  ]
  has_own_row = config.meta_block.kind == 'id_embedding'
  return tuple(own + others) if has_own_row else tuple(others)


def select_global_specs(
    specs: Sequence[types.FeatureSpec],
) -> tuple[types.FeatureSpec, ...]:
  """Returns what the global block reads."""
  return tuple(s for s in specs if s.role in ('global', 'both'))


def _init(
    key: jax.Array,
    *,
    config: config_lib.Config,
    readers: Readers,
    layout: encoder.Layout,
) -> types.BlockParams:
  table_key, meta_key, global_key = jax.random.split(key, 3)
  model = config.model
  meta_params, history_params = {}, {}
  num_regular = encoder.num_features(readers.regular, layout)
  for entity_type, specs in sorted(readers.meta.items()):
    meta_key, type_key = jax.random.split(meta_key)
    num_features = encoder.num_features(specs, layout)
    if model.meta_block.reads_history:
      num_features += history.summary_size(model.meta_block)
      history_params[entity_type] = history.init(
          jax.random.fold_in(type_key, 1),
          model.meta_block,
          num_features=num_regular,
      )
    meta_params[entity_type] = meta_block.init(
        type_key, model.meta_block, num_features=num_features
    )
  return types.BlockParams(
      meta_block=meta_params,
      global_block=global_block.init(
          global_key,
          model.global_block,
          embedding_sizes=dict.fromkeys(
              meta_params, model.meta_block.embedding_size
          ),
          num_features=num_regular,
      ),
      tables=encoder.init_tables(
          table_key,
          layout,
          scale=model.table_init_scale,
          rows_multiple=config.training.mesh_rows,
      ),
      inner_rates=_init_inner_rates(meta_params, config.inner_loop),
      history=history_params,
  )


def _init_inner_rates(
    meta_params: types.Params, config: config_lib.InnerLoopConfig
) -> types.Params:
  if not config.learned_rates or not config.num_steps:
    return {}
  rates = jnp.full((config.num_steps,), math.log(config.learning_rate))
  return jax.tree.map(lambda _: rates, meta_params)


def _index(
    examples: types.Examples, *, readers: Readers, layout: encoder.Layout
) -> types.Examples:
  nothing = encoder.no_features((*examples.mask.shape[:-1], 1))
  return examples._replace(
      meta_features={
          entity_type: encoder.index(features, specs=specs, layout=layout)
          if (specs := readers.meta[entity_type])
          else nothing
          for entity_type, features in examples.meta_features.items()
      },
      features=encoder.index(
          examples.features, specs=readers.regular, layout=layout
      ),
  )


def _encode(
    params: types.BlockParams,
    examples: types.Examples,
    *,
    readers: Readers,
    layout: encoder.Layout,
    config: config_lib.ModelConfig,
) -> types.Examples:
  """Encodes the rows of one task, and its history where that is read."""

  def encode_rows(indexed, specs):
    one_row = functools.partial(encoder.lookup, specs=specs, layout=layout)
    return jax.vmap(one_row, in_axes=(None, 0))(params.tables, indexed)

  def prepare_row(features):
    return global_block.prepare(
        params.global_block, features, config=config.global_block
    )

  rows = encode_rows(examples.features, readers.regular)
  meta_features = {
      entity_type: encode_rows(indexed, readers.meta[entity_type])
      for entity_type, indexed in examples.meta_features.items()
  }
  lengths = history.prefixes(examples.mask, examples.ages)
  for entity_type, history_params in params.history.items():
    summaries = history.apply(
        history_params,
        rows,
        examples.labels,
        examples.mask,
        config=config.meta_block,
    )
    meta_features[entity_type] = history.append(
        meta_features[entity_type], summaries, lengths
    )
  return examples._replace(
      meta_features=meta_features, features=jax.vmap(prepare_row)(rows)
  )


def _embed(
    meta_params: types.Params,
    meta_features: dict[types.EntityType, jax.Array],
    *,
    config: config_lib.MetaBlockConfig,
) -> dict[types.EntityType, jax.Array]:
  return {
      entity_type: meta_block.apply(
          meta_params[entity_type], rows, config=config
      )
      for entity_type, rows in meta_features.items()
  }
