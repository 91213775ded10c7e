"""Generates meta embeddings: every entity adapted anew, in chunks.

Each entity starts from the shared initialization, never from yesterday's
adapted weights (LiMAML, section 5), and sees only events strictly before its
cutoff.
"""

from collections.abc import Callable
from collections.abc import Iterator
import functools
from typing import NamedTuple

import jax
import numpy as np

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.blocks import model as model_lib
from limaml_jax.data import buckets as buckets_lib
from limaml_jax.data import dataset
from limaml_jax.data import episodes
from limaml_jax.meta import embeddings as embeddings_lib

# (parameters, raw support with leaves [N, S, ...]) -> embeddings [N, E].
EmbedChunkFn = Callable[[types.BlockParams, types.Examples], jax.Array]


class Chunk(NamedTuple):
  """Meta embeddings of some entities.

  Attributes:
    entities: indices into the task table, [N].
    vectors: float32, [N, E].
    watermarks: UTC seconds of the latest event used, -1 for none, [N] int64.
  """

  entities: np.ndarray
  vectors: np.ndarray
  watermarks: np.ndarray


def make_embed_chunk(
    model: model_lib.Model,
    *,
    loss_fn: types.TaskLossFn,
    entity_type: types.EntityType,
    config: config_lib.Config,
) -> EmbedChunkFn:
  """Returns the jitted generator of one chunk; N is added by one vmap."""

  def embed_entity(params, support):
    embedding = embeddings_lib.meta_embedding(
        params,
        model.encode(params, support),
        embed=model.embed,
        loss_fn=loss_fn,
        config=config,
    )
    return embedding[entity_type]

  embed_entities = jax.vmap(embed_entity, in_axes=(None, 0))
  return jax.jit(lambda params, raw: embed_entities(params, model.index(raw)))


def generate(
    table: dataset.TaskTable,
    params: types.BlockParams,
    cutoffs: np.ndarray | int,
    *,
    embed_chunk: EmbedChunkFn,
    names: episodes.FeatureNames,
    entity_type: types.EntityType,
    config: config_lib.Config,
) -> Iterator[Chunk]:
  """Yields the meta embeddings of all entities, in order of support size.

  Entities of like support share a chunk, so that padding stays small; each
  padded size is compiled once.

  Args:
    table: all tasks.
    params: of the checkpoint.
    cutoffs: UTC seconds, [N] or one for all.
    embed_chunk: from `make_embed_chunk`.
    names: of the features that the network reads.
    entity_type: the adapted one.
    config: `episodes.support_buckets` and `refresh` are read.
  """
  index = episodes.make_index(
      table,
      np.arange(len(table.entity_keys)),
      cutoffs,
      support_cap=config.episodes.support_buckets[-1],
  )
  sizes, _ = index.sizes()
  buckets = buckets_lib.choose(
      sizes,
      config.episodes.support_buckets,
      config.episodes.num_support_buckets,
  )
  padded = buckets_lib.pad_to(sizes, buckets)
  draw = functools.partial(
      episodes.assemble,
      table,
      names=names,
      entity_type=entity_type,
      num_query=1,
  )
  chunk_size = config.refresh.entities_per_chunk
  for bucket in buckets:
    members = np.flatnonzero(padded == bucket)
    for start in range(0, members.size, chunk_size):
      chosen = members[start : start + chunk_size]
      part = _pad(index.take(chosen), chunk_size)
      support = draw(
          part, num_support=int(bucket), weights=np.ones(chunk_size)
      ).support
      vectors = jax.device_get(embed_chunk(params, support))[: chosen.size]
      yield Chunk(chosen, vectors, _watermarks(table, index.take(chosen)))


def default_embedding(
    table: dataset.TaskTable,
    params: types.BlockParams,
    *,
    embed_chunk: EmbedChunkFn,
    names: episodes.FeatureNames,
    entity_type: types.EntityType,
    config: config_lib.Config,
) -> np.ndarray:
  """Returns the embedding of an entity of which nothing is known, [E].

  Categories are out of vocabulary, numbers at their training mean.
  """
  nobody = np.full(1, -1)
  index = episodes.EpisodeIndex(*([nobody] + [np.zeros(1, np.int64)] * 4))
  support = episodes.assemble(
      table,
      index,
      names=names,
      entity_type=entity_type,
      num_support=config.episodes.support_buckets[0],
      num_query=1,
      weights=np.ones(1),
  ).support
  return jax.device_get(embed_chunk(params, support))[0]


def _pad(index: episodes.EpisodeIndex, size: int) -> episodes.EpisodeIndex:
  """Appends entities without support until there are `size`."""
  missing = size - index.entity.size
  pad = lambda column, value: np.pad(
      column, (0, missing), constant_values=value
  )
  return episodes.EpisodeIndex(
      pad(index.entity, -1), *(pad(column, 0) for column in index[1:])
  )


def _watermarks(
    table: dataset.TaskTable, index: episodes.EpisodeIndex
) -> np.ndarray:
  used = index.support_stop > index.support_start
  latest = np.maximum(index.support_stop - 1, 0)
  return np.where(used, table.timestamps[latest], -1)
