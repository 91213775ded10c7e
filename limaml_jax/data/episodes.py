"""Plans episodes and assembles them into padded, masked meta-batches.

An episode is a run of at most Q consecutive training events of one entity
(its query) and the S latest events strictly before the run's cutoff (its
support). Where embeddings refresh at fixed times, a run never crosses one and
the cutoff is the refresh before it: training sees support as old as serving
will. Elsewhere the cutoff is the time of the run's first event.
"""

from typing import NamedTuple

import numpy as np

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.data import dataset
from limaml_jax.data import recency


class EpisodeIndex(NamedTuple):
  """Where the rows of M episodes lie among a TaskTable's events.

  Attributes:
    entity: [M] int64.
    support_start: [M] int64.
    support_stop: [M] int64; no event from here on is ever support.
    query_start: [M] int64.
    query_stop: [M] int64.
  """

  entity: np.ndarray
  support_start: np.ndarray
  support_stop: np.ndarray
  query_start: np.ndarray
  query_stop: np.ndarray

  def take(self, indices: np.ndarray) -> 'EpisodeIndex':
    """Returns the episodes at `indices`."""
    return EpisodeIndex(*(column[indices] for column in self))

  def sizes(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows of each support and of each query, [M] each."""
    return (
        self.support_stop - self.support_start,
        self.query_stop - self.query_start,
    )

  def pad(self, size: int) -> 'EpisodeIndex':
    """Appends padding tasks until there are `size` episodes."""
    missing = (0, size - self.entity.size)
    entity = np.pad(self.entity, missing, constant_values=-1)
    return EpisodeIndex(entity, *(np.pad(c, missing) for c in self[1:]))


# A padding task: an entity of which nothing is known.
NOBODY = EpisodeIndex(*[np.zeros(0, np.int64)] * 5).pad(1)


class FeatureNames(NamedTuple):
  """Which raw features go where.

  Attributes:
    meta: read by the meta block.
    regular: read by the global block.
  """

  meta: tuple[str, ...]
  regular: tuple[str, ...]


def first_at_or_after(
    table: dataset.TaskTable, entities: np.ndarray, times: np.ndarray | int
) -> np.ndarray:
  """Returns the first event of each entity at or after a time, [M].

  It is the entity's end of events where there is none. Everything before it
  is strictly earlier than the time.
  """
  if np.ndim(times) == 0:
    # Events ascend in time: those that follow are counted.
    later = np.flatnonzero(table.timestamps >= times)
    num_later = np.diff(np.searchsorted(later, table.offsets))
    return (table.offsets[1:] - num_later)[entities]
  return np.searchsorted(_time_keys(table), _pack(entities, times))


def _time_keys(table: dataset.TaskTable) -> np.ndarray:
  """One ascending integer per event: entity, then time."""
  entities = np.repeat(
      np.arange(len(table.entity_keys)), np.diff(table.offsets)
  )
  return _pack(entities, table.timestamps)


def _pack(entities: np.ndarray, times: np.ndarray | int) -> np.ndarray:
  # Times are below 2^33 (year 2242), which is validated when they enter.
  return (np.asarray(entities, np.int64) << 34) + times


def support_sizes(
    table: dataset.TaskTable, entities: np.ndarray, cutoffs: np.ndarray | int
) -> np.ndarray:
  """Counts each entity's events strictly before its cutoff, [M]."""
  stops = first_at_or_after(table, entities, cutoffs)
  return stops - table.offsets[entities]


def plan(
    table: dataset.TaskTable,
    info: dataset.DatasetInfo,
    config: config_lib.EpisodeConfig,
    *,
    since: int = 0,
) -> EpisodeIndex:
  """Divides all training events into episodes, each event a query row once.

  Args:
    table: all tasks.
    info: of the dataset.
    config: how episodes are drawn.
    since: UTC seconds; earlier events are support alone.
  """
  entities = np.repeat(np.arange(len(table.entity_keys)), table.num_train)
  within = np.arange(entities.size) - np.repeat(
      np.cumsum(table.num_train) - table.num_train, table.num_train
  )
  events = table.offsets[entities] + within
  times = table.timestamps[events]
  if since:
    kept = times >= since
    entities, events, times = entities[kept], events[kept], times[kept]
  if info.refresh_seconds:
    periods = (times - info.cutoffs[0]) // info.refresh_seconds
  else:
    periods = np.zeros_like(times)
  breaks = (np.diff(entities) != 0) | (np.diff(periods) != 0)
  run_starts = np.flatnonzero(np.concatenate([[entities.size > 0], breaks]))
  run_sizes = np.diff(np.append(run_starts, entities.size))
  in_run = np.arange(entities.size) - np.repeat(run_starts, run_sizes)
  starts = np.flatnonzero(in_run % config.query_buckets[-1] == 0)
  stops = np.append(starts[1:], entities.size)
  if info.refresh_seconds:
    cutoffs = info.cutoffs[0] + periods[starts] * info.refresh_seconds
  else:
    cutoffs = times[starts]
  query_start = events[starts]
  return make_index(
      table,
      entities[starts],
      cutoffs,
      support_cap=config.support_buckets[-1],
      query_start=query_start,
      query_stop=query_start + (stops - starts),
  )


def make_index(
    table: dataset.TaskTable,
    entities: np.ndarray,
    cutoffs: np.ndarray | int,
    *,
    support_cap: int,
    query_start: np.ndarray | None = None,
    query_stop: np.ndarray | None = None,
) -> EpisodeIndex:
  """Indexes one episode per entity: support at a cutoff, and a given query.

  Args:
    table: all tasks.
    entities: [M].
    cutoffs: UTC seconds, [M] or one for all.
    support_cap: most support rows, the latest ones.
    query_start: first query event, [M]; no query when left out.
    query_stop: end of the query events, [M].
  """
  entities = np.asarray(entities, np.int64)
  stops = first_at_or_after(table, entities, cutoffs)
  starts = np.maximum(stops - support_cap, table.offsets[entities])
  nothing = np.zeros_like(stops)
  return EpisodeIndex(
      entity=entities,
      support_start=starts,
      support_stop=stops,
      query_start=nothing if query_start is None else query_start,
      query_stop=nothing if query_stop is None else query_stop,
  )


def assemble(
    table: dataset.TaskTable,
    index: EpisodeIndex,
    *,
    names: FeatureNames,
    entity_type: types.EntityType,
    num_support: int,
    num_query: int,
    weights: np.ndarray,
    half_lives: recency.HalfLives = recency.NEVER,
) -> types.Episode:
  """Gathers and pads episodes into one meta-batch, leaves [T, S or Q, ...].

  An episode with entity -1 is a padding task: no row of it is real, and
  nothing is known of its entity. Support rows weigh less by `half_lives`.
  """
  make = lambda start, stop, size: _gather_rows(
      table, index.entity, start, stop, size, names, entity_type
  )
  support = make(index.support_start, index.support_stop, num_support)
  if any(half_lives):
    mask, ages = np.asarray(support.mask), np.asarray(support.ages)
    factors = recency.decay(ages, mask > 0, half_lives)
    support = support._replace(mask=mask * factors)
  return types.Episode(
      support=support,
      query=make(index.query_start, index.query_stop, num_query),
      weight=weights.astype(np.float32),
  )


def _gather_rows(
    table: dataset.TaskTable,
    entities: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
    size: int,
    names: FeatureNames,
    entity_type: types.EntityType,
) -> types.Examples:
  """Pads event ranges to [T, size]; a padding row reads no table row."""
  events = starts[:, None] + np.arange(size)
  real = (events < stops[:, None]) & (entities >= 0)[:, None]
  events = np.where(real, events, 0)
  owners = np.maximum(entities, 0)[:, None]
  known = (entities >= 0)[:, None]

  def of_entity(name, num_inputs):
    column = table.entity_features[name]
    rows = np.repeat(column[owners], num_inputs, axis=1)
    return _choose(known, rows, unknown(column))

  def of_rows(name):
    if name in table.entity_features:
      return of_entity(name, size)
    column = table.event_features[name]
    return _choose(real, column[events], _nothing(column))

  def of_inputs(name):
    if one_input:
      return of_entity(name, 1)
    rows = of_rows(name)
    if name in table.event_features:
      # The first row of a task without any stands for the unknown event.
      rows[~real.any(axis=1), 0] = unknown(table.event_features[name])
    return rows

  one_input = all(name in table.entity_features for name in names.meta)
  return types.Examples(
      meta_features={entity_type: {n: of_inputs(n) for n in names.meta}},
      features={n: of_rows(n) for n in names.regular},
      labels=np.where(real, table.targets[events], 0),
      mask=np.where(real, table.weights[events], 0).astype(np.float32),
      ages=_ages(table.timestamps[events], real),
  )


def _ages(times: np.ndarray, real: np.ndarray) -> np.ndarray:
  """Returns seconds to the latest real row of each task, 0 for padding."""
  latest = np.max(times, axis=1, keepdims=True, initial=0, where=real)
  ages = np.where(real, latest - times, 0)
  return np.minimum(ages, np.iinfo(np.int32).max).astype(np.int32)


def unknown(column: np.ndarray) -> float:
  """Returns the raw value of a feature of which nothing is known.

  Args:
    column: of the feature, [n] or, multi_hot, [n, max_values].

  Returns:
    The out-of-vocabulary row; no value of a multi_hot feature; nan, which is
    encoded as the mean, for a numeric one.
  """
  if np.issubdtype(column.dtype, np.floating):
    return np.nan
  return -1 if column.ndim > 1 else 0


def _nothing(column: np.ndarray) -> int:
  """Returns the raw value that reads no table row."""
  return 0 if np.issubdtype(column.dtype, np.floating) else -1


def _choose(mask: np.ndarray, rows: np.ndarray, value: float) -> np.ndarray:
  mask = mask.reshape(mask.shape + (1,) * (rows.ndim - 2))
  return np.where(mask, rows, np.asarray(value, rows.dtype))
