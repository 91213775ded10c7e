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

from limaml_jax import errors
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


class Schedule(NamedTuple):
  """When embeddings are refreshed, if not as the dataset's protocol has it.

  Attributes:
    starts: UTC seconds from which each refresh serves, ascending; the first is
      not after any test event.
    cutoffs: UTC seconds; a refresh uses the events before its own, which is
      earlier than its start where the embeddings are served for longer than
      until the next one.
  """

  starts: tuple[int, ...]
  cutoffs: tuple[int, ...]


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


def make_schedule(
    info: dataset.DatasetInfo, *, hours: int = 0, delay_hours: int = 0
) -> Schedule:
  """Returns a schedule of the test window.

  Args:
    info: of the dataset.
    hours: between refreshes; 0 as the protocol has it.
    delay_hours: how much earlier than its start the cutoff of a refresh is.

  Raises:
    InputError: if the entities have no cutoffs in common.
  """
  if not info.cutoffs:
    raise errors.InputError(
        f'{info.name}: each entity has a cutoff of its own under'
        f' "{info.protocol}"; set protocol.split to by_time'
    )
  starts = info.cutoffs
  if hours:
    starts = tuple(range(info.cutoffs[0], info.test_end, hours * 3600))
  return Schedule(starts, tuple(t - delay_hours * 3600 for t in starts))


def test_rows(
    table: dataset.TaskTable, info: dataset.DatasetInfo
) -> TestRows:
  """Lists every test event with the refresh that serves it."""
  entity = dataset.event_owners(table)
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


def select(rows: TestRows, which: np.ndarray) -> TestRows:
  """Returns the rows where a mask, [n] bool, holds, or those at indices."""
  return TestRows(*(column[which] for column in rows))


def unserved_scores(
    table: dataset.TaskTable, rows: TestRows, probability: np.ndarray
) -> scores_lib.Scores:
  """Returns rows that were scored by no store: nothing there has an age.

  Args:
    table: all tasks.
    rows: that were scored.
    probability: of label 1, [n].
  """
  num_rows = rows.event.size
  return scores_lib.concatenate([
      scores_lib.Scores(
          entity=rows.entity,
          day=rows.day,
          label=table.labels[rows.event],
          score=probability,
          support_size=rows.support_size,
          age_seconds=np.full(num_rows, -1),
          status=np.full(num_rows, PRESENT),
      )
  ])


def replay(
    table: dataset.TaskTable,
    info: dataset.DatasetInfo,
    *,
    names: tuple[str, ...],
    refresh: RefreshFn,
    lookup: LookupFn,
    score: ScoreFn,
    max_age_seconds: int = 0,
    schedule: Schedule | None = None,
    entities: np.ndarray | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> scores_lib.Scores:
  """Scores the test rows as served, one refresh after another.

  Rows, their order, days and support sizes are those of the protocol whatever
  the schedule, so that scores under two schedules can be paired.

  Args:
    table: all tasks.
    info: of the dataset.
    names: raw features that `score` reads.
    refresh: generates embeddings at a cutoff and publishes them.
    lookup: reads them back from the store.
    score: the global block.
    max_age_seconds: beyond which an embedding is STALE; 0 never. Judged here,
      at the time of each row, so `lookup` must not.
    schedule: of the refreshes; that of the protocol when left out.
    entities: whose rows are scored, [n]; everybody's when left out.
    on_progress: called after each refresh with (done, total).
  """
  rows = test_rows(table, info)
  if entities is not None:
    rows = select(rows, np.isin(rows.entity, entities))
  periods, cutoffs = rows.day, refreshes(table, info)
  if schedule is not None:
    periods = _periods(table, rows, schedule)
    cutoffs = list(schedule.cutoffs)
  score_day = functools.partial(
      _score_day,
      table,
      names=names,
      lookup=lookup,
      score=score,
      max_age_seconds=max_age_seconds,
  )
  parts = []
  for period, cutoff in enumerate(cutoffs):
    refresh(cutoff)
    now = int(np.max(cutoff))
    parts.append(score_day(select(rows, periods == period), now))
    on_progress(period + 1, len(cutoffs))
  scores = scores_lib.concatenate(parts)
  # Where each row of `rows`, day by day, stands among the parts.
  place = np.argsort(np.argsort(periods, kind='stable'))
  return scores_lib.select(scores, place[np.argsort(rows.day, kind='stable')])


def _periods(
    table: dataset.TaskTable, rows: TestRows, schedule: Schedule
) -> np.ndarray:
  """Returns the number of the refresh that serves each row, [n]."""
  starts = np.asarray(schedule.starts)
  times = table.timestamps[rows.event]
  periods = np.searchsorted(starts, times, side='right') - 1
  if np.any(periods < 0):
    raise ValueError(f'a test event precedes the first refresh, {starts[0]}')
  return periods


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
