"""Generates meta embeddings: entities adapted anew, in chunks.

Each entity starts from the shared initialization, never from yesterday's
adapted weights (LiMAML, section 5), and sees only events strictly before its
cutoff. What comes out for an entity does not depend on which others are
adapted with it.
"""

from collections.abc import Callable
from collections.abc import Container
from collections.abc import Iterator
import functools
from typing import NamedTuple

import jax
import numpy as np

from limaml_jax import config as config_lib
from limaml_jax import overrides
from limaml_jax import types
from limaml_jax.blocks import ensemble
from limaml_jax.blocks import model as model_lib
from limaml_jax.data import buckets as buckets_lib
from limaml_jax.data import dataset
from limaml_jax.data import episodes
from limaml_jax.data import recency
from limaml_jax.meta import embeddings as embeddings_lib

# (parameters, raw support with leaves [N, S, ...]) -> embeddings [N, E].
EmbedChunkFn = Callable[[types.BlockParams, types.Examples], jax.Array]

_KEPT = 4  # Compiled, a network holds thousands of memory mappings.


class Part(NamedTuple):
  """Entities that are adapted at once.

  Attributes:
    num_support: S, that their support is padded to.
    entities: indices into the task table, at most N of them.
  """

  num_support: int
  entities: np.ndarray


class Plan(NamedTuple):
  """Who is adapted, to what, and in which order.

  Attributes:
    index: support of every entity of the table.
    watermarks: UTC seconds of the latest event of each support, -1 for none,
      [entities] int64.
    parts: in ascending order of support size.
  """

  index: episodes.EpisodeIndex
  watermarks: np.ndarray
  parts: tuple[Part, ...]

  def without_support(self) -> 'Plan':
    """Returns the plan of the same entities, of whom no event is known."""
    stop = self.index.support_stop
    return self._replace(index=self.index._replace(support_start=stop))


class Chunk(NamedTuple):
  """Meta embeddings of some entities.

  Attributes:
    number: of the plan's part.
    entities: indices into the task table, [n].
    vectors: float32, [n, E].
  """

  number: int
  entities: np.ndarray
  vectors: np.ndarray


def make_embed_chunk(
    model: model_lib.Model,
    *,
    loss_fn: types.TaskLossFn,
    entity_type: types.EntityType,
    config: config_lib.Config,
) -> EmbedChunkFn:
  """Returns the jitted generator of one chunk; N is added by one vmap.

  The same one for the same settings, whatever the seed, so that it is traced
  once in a process.
  """
  return _make_embed_chunk(
      model, loss_fn, entity_type, overrides.without_seed(config)
  )


@functools.lru_cache(maxsize=_KEPT)
def _make_embed_chunk(model, loss_fn, entity_type, config) -> EmbedChunkFn:

  def embed_entity(params, support):
    embedding = embeddings_lib.meta_embedding(
        params,
        model.encode(params, support),
        embed=model.embed,
        loss_fn=loss_fn,
        config=config,
    )
    return embedding[entity_type]

  def embed_by_all(members, support):
    of_each = ensemble.each(
        embed_entity, config.model.ensemble_size, in_axes=(0, None)
    )
    return of_each(members, support).ravel()

  embed_entities = jax.vmap(embed_by_all, in_axes=(None, 0))
  return jax.jit(lambda params, raw: embed_entities(params, model.index(raw)))


def make_plan(
    table: dataset.TaskTable,
    cutoffs: np.ndarray | int,
    *,
    config: config_lib.Config,
    choose: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Plan:
  """Divides entities into chunks of like support, so that padding stays small.

  The padded sizes, each of which is compiled once, are powers of two and those
  of the settings, not chosen from the data: the same support is padded alike
  whoever else is adapted, today and tomorrow, and so comes out the same.

  Args:
    table: all tasks.
    cutoffs: UTC seconds, [entities] or one for all.
    config: `episodes.support_buckets` and `refresh` are read.
    choose: from the watermarks of all entities to indices of those that are
      adapted; all of them when left out.
  """
  index = episodes.make_index(
      table,
      np.arange(len(table.entity_keys)),
      cutoffs,
      support_cap=config.episodes.support_buckets[-1],
  )
  sizes, _ = index.sizes()
  buckets = _buckets(config.episodes.support_buckets)
  watermarks = _watermarks(table, index)
  chosen = choose(watermarks) if choose else np.arange(sizes.size)
  padded = buckets_lib.pad_to(sizes[chosen], buckets)
  chunk_size = config.refresh.entities_per_chunk
  parts = []
  for bucket in buckets:
    members = chosen[padded == bucket]
    for start in range(0, members.size, chunk_size):
      parts.append(Part(int(bucket), members[start : start + chunk_size]))
  return Plan(index, watermarks, tuple(parts))


def generate(
    table: dataset.TaskTable,
    params: types.BlockParams,
    plan: Plan,
    *,
    embed_chunk: EmbedChunkFn,
    names: episodes.FeatureNames,
    entity_type: types.EntityType,
    config: config_lib.Config,
    done: Container[int] = (),
) -> Iterator[Chunk]:
  """Yields the meta embeddings of a plan's parts, one after another.

  While the device adapts a part, the host assembles the next one.

  Args:
    table: all tasks.
    params: of the checkpoint, as `ensemble.divide` returns them.
    plan: of `make_plan`.
    embed_chunk: from `make_embed_chunk`.
    names: of the features that the network reads.
    entity_type: the adapted one.
    config: `refresh` and the half-lives of support rows are read.
    done: numbers of parts that are left out.
  """
  size = config.refresh.entities_per_chunk
  running = None
  for number, part in enumerate(plan.parts):
    if number in done:
      continue
    support = episodes.assemble(
        table,
        plan.index.take(part.entities).pad(size),
        names=names,
        entity_type=entity_type,
        num_support=part.num_support,
        num_query=1,
        weights=np.ones(size),
        half_lives=recency.half_lives(config.episodes),
    ).support
    started = number, part.entities, embed_chunk(params, support)
    if running:
      yield _fetch(*running)
    running = started
  if running:
    yield _fetch(*running)


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
  support = episodes.assemble(
      table,
      episodes.NOBODY,
      names=names,
      entity_type=entity_type,
      num_support=config.episodes.support_buckets[0],
      num_query=1,
      weights=np.ones(1),
  ).support
  return jax.device_get(embed_chunk(params, support))[0]


def _buckets(given: tuple[int, ...]) -> tuple[int, ...]:
  """Adds powers of two to padded sizes, ascending."""
  powers = {2**n for n in range(2, given[-1].bit_length())}
  return tuple(sorted({*given, *(p for p in powers if p < given[-1])}))


def _fetch(number: int, entities: np.ndarray, vectors: jax.Array) -> Chunk:
  return Chunk(number, entities, jax.device_get(vectors)[: entities.size])


def _watermarks(
    table: dataset.TaskTable, index: episodes.EpisodeIndex
) -> np.ndarray:
  used = index.support_stop > index.support_start
  latest = np.maximum(index.support_stop - 1, 0)
  return np.where(used, table.timestamps[latest], -1)
