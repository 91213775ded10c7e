"""Replays the test days as they would have been served.

At each refresh embeddings are generated from the events before it, published,
and read back from the store; the rows until the next refresh are scored by the
global block with what the store returned. Nothing here trains or adapts: those
steps are functions passed in.
"""

from collections.abc import Callable
import functools
from typing import NamedTuple

import numpy as np

from limaml_jax import types
from limaml_jax.data import dataset
from limaml_jax.data import episodes
from limaml_jax.evaluation import scores as scores_lib

# Codes of a lookup's statuses; the same as the store's.
PRESENT, STALE = 0, 1

# Cutoffs, UTC seconds, [N] or one for all: generates and publishes.
RefreshFn = Callable[[np.ndarray | int], None]
# (entity keys, now) -> vectors [n, E], statuses [n], ages in seconds [n].
LookupFn = Callable[
    [list[str], int], tuple[np.ndarray, np.ndarray, np.ndarray]
]
# (meta embeddings [n, E], raw features with leaves [n, ...]) -> scores [n].
ScoreFn = Callable[[np.ndarray, types.HostFeatures], np.ndarray]


class TestRows(NamedTuple):
  """Events to be scored, all [n] int64.

  Attributes:
    entity: index into the task table.
    event: index among its events.
    day: number of the refresh that serves the row.
    support_size: events of the entity before that refresh, not capped.
  """

  entity: np.ndarray
  event: np.ndarray
  day: np.ndarray
  support_size: np.ndarray


def entity_cutoffs(table: dataset.TaskTable) -> np.ndarray:
  """Returns the time of each entity's first test event, UTC seconds, [N].

  An entity without any has a cutoff after its last event.
  """
  first_test = table.offsets[:-1] + table.num_history
  last = table.offsets[1:] - 1
  times = table.timestamps[np.minimum(first_test, last)]
  return np.where(first_test <= last, times, times + 1)


def refreshes(
    table: dataset.TaskTable, info: dataset.DatasetInfo
) -> list[np.ndarray | int]:
  """Returns the cutoffs of each refresh, in order."""
  return list(info.cutoffs) or [entity_cutoffs(table)]


def test_rows(
    table: dataset.TaskTable, info: dataset.DatasetInfo
) -> TestRows:
  """Lists every test event with the refresh that serves it."""
  sizes = np.diff(table.offsets)
  entity = np.repeat(np.arange(sizes.size), sizes)
  position = np.arange(entity.size) - table.offsets[entity]
  event = np.flatnonzero(position >= table.num_history[entity])
  entity = entity[event]
  if info.cutoffs:
    bounds = np.asarray(info.cutoffs)
    day = np.searchsorted(bounds, table.timestamps[event], side='right') - 1
    cutoffs = bounds[day]
  else:
    day = np.zeros_like(event)
    cutoffs = entity_cutoffs(table)[entity]
  return TestRows(
      entity=entity,
      event=event,
      day=day,
      support_size=episodes.support_sizes(table, entity, cutoffs),
  )


def replay(
    table: dataset.TaskTable,
    info: dataset.DatasetInfo,
    *,
    names: tuple[str, ...],
    refresh: RefreshFn,
    lookup: LookupFn,
    score: ScoreFn,
    max_age_seconds: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> scores_lib.Scores:
  """Scores all test rows as served, one refresh after another.

  Args:
    table: all tasks.
    info: of the dataset.
    names: raw features that `score` reads.
    refresh: generates embeddings at a cutoff and publishes them.
    lookup: reads them back from the store.
    score: the global block.
    max_age_seconds: beyond which an embedding is STALE; 0 never. Judged here,
      at the time of each row, so `lookup` must not.
    on_progress: called after each refresh with (done, total).
  """
  rows = test_rows(table, info)
  cutoffs = refreshes(table, info)
  score_day = functools.partial(
      _score_day,
      table,
      names=names,
      lookup=lookup,
      score=score,
      max_age_seconds=max_age_seconds,
  )
  parts = []
  for day, cutoff in enumerate(cutoffs):
    refresh(cutoff)
    now = int(np.max(cutoff))
    today = TestRows(*(column[rows.day == day] for column in rows))
    parts.append(score_day(today, now))
    on_progress(day + 1, len(cutoffs))
  return scores_lib.concatenate(parts)


def _score_day(
    table: dataset.TaskTable,
    rows: TestRows,
    now: int,
    *,
    names: tuple[str, ...],
    lookup: LookupFn,
    score: ScoreFn,
    max_age_seconds: int,
) -> scores_lib.Scores:
  entities, position = np.unique(rows.entity, return_inverse=True)
  keys = table.entity_keys[entities].tolist()
  vectors, statuses, ages = lookup(keys, now)
  has_age = ages[position] >= 0
  watermarks = now - ages[position]
  # At the time of the row; an entity without history ages from its refresh.
  row_ages = np.maximum(table.timestamps[rows.event] - watermarks, 0)
  statuses = statuses[position]
  if max_age_seconds:
    too_old = has_age & (row_ages > max_age_seconds) & (statuses == PRESENT)
    statuses = np.where(too_old, STALE, statuses)
  return scores_lib.Scores(
      entity=rows.entity,
      day=rows.day,
      label=table.labels[rows.event],
      score=score(
          vectors[position], row_features(table, rows, names)
      ).astype(np.float64),
      support_size=rows.support_size,
      age_seconds=np.where(has_age, row_ages, -1),
      status=statuses,
  )


def row_features(
    table: dataset.TaskTable, rows: TestRows, names: tuple[str, ...]
) -> types.HostFeatures:
  """Gathers the raw features of the rows, leaves [n, ...]."""
  return {
      name: table.event_features[name][rows.event]
      if name in table.event_features
      else table.entity_features[name][rows.entity]
      for name in names
  }
