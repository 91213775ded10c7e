"""Impressions: rows of a log, read and judged as `prepare` does."""

import pathlib
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from experiments import log_input
from experiments import times
from limaml_jax import errors
from limaml_jax.data.engines import start as engines
from limaml_jax.data.log import downstream
from limaml_jax.data.log import raw_log
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import sources
from limaml_jax.data.tasks import ordered_events
from limaml_jax.data.tasks import ordering
from limaml_jax.data.tasks import past_events
from limaml_jax.data.tasks import past_sides
from limaml_jax.data.tasks import vocabulary

_MICROSECONDS = 1_000_000


class Chosen(NamedTuple):
  """Which impressions of a log are replayed.

  Attributes:
    start: UTC seconds of the earliest; None for all.
    stop: UTC seconds that all are before; None for all.
    limit: of them, the earliest ones; 0 for all.
  """

  start: int | None = None
  stop: int | None = None
  limit: int = 0


class Impressions(NamedTuple):
  """Impressions by entity and time, and the features that the log states.

  Attributes:
    rows: the impressions, columns as `ordering.select` makes them.
    schema: that they were read by.
    features: that stand in the log, or count its earlier events.
    files: of the log.
    num_log_rows: rows of the log, the rejected ones included.
    rejected: rows that failed a check, by what was wrong.
  """

  rows: ordered_events.OrderedEvents
  schema: schema_lib.Schema
  features: tuple[schema_lib.Feature, ...]
  files: tuple[str, ...]
  num_log_rows: int
  rejected: dict[str, int]


class Slice(NamedTuple):
  """Impressions that make one request.

  Attributes:
    entities: keys, each once, [n].
    counts: impressions of each, [n].
    items: keys, those of the first entity first, [c].
    times: UTC seconds, [c].
    labels: 0 or 1, float32 [c].
    values: by feature, as a request has them, [c].
  """

  entities: list[str]
  counts: np.ndarray
  items: list[str]
  times: np.ndarray
  labels: np.ndarray
  values: dict[str, list]


def read(
    log: log_input.LogInput,
    entity_type: str,
    chosen: Chosen,
    *,
    scratch: str,
    memory_limit: str,
    max_reject_fraction: float,
) -> Impressions:
  """Reads the impressions of a log into a file under `scratch`.

  Args:
    log: its files and their schema.
    entity_type: whose embeddings score.
    chosen: which impressions.
    scratch: directory that outlives the impressions.
    memory_limit: of DuckDB.
    max_reject_fraction: of the log's rows that may fail a check.

  Raises:
    InputError: for whatever is wrong with the files, or if nothing is chosen.
  """
  schema = log.load_schema()
  entity = raw_log.find_entity(schema, entity_type)
  known = raw_log.features_of(schema, entity_type)
  paths = sources.find_files(schema.interactions.files, log.data_dir)
  with engines.connect(
      'duckdb', scratch, memory_limit=memory_limit
  ) as engine:
    opened, rows = _open(
        engine, log, schema, entity, known, paths, max_reject_fraction
    )
    rows = _choose(rows, chosen)
    written = engine.write(
        rows,
        pathlib.Path(scratch) / 'impressions.parquet',
        ordered_events.ROWS_PER_PART,
    )
  found = ordered_events.open_files(written)
  if not found.num_events:
    raise errors.InputError(
        f'{paths[0]}: no impressions {_describe(chosen)}; choose others by'
        ' --start and --stop'
    )
  return Impressions(
      rows=found,
      schema=schema,
      features=_stated(known),
      files=tuple(map(str, paths)),
      num_log_rows=opened.num_rows,
      rejected=_rejected(opened),
  )


def _rejected(opened):
  """Returns the numbers of rejected rows by what was wrong."""
  return {
      f'{opened.checks[n].field}: not {opened.checks[n].wanted}': count
      for n, count in sorted(opened.rejected.items())
  }


def _stated(features):
  """Returns the features whose values the log says, or its earlier events."""
  found = [f for f in features if f.in_log or f.is_past]
  return downstream.as_downstream(found, {})


def _open(engine, log, schema, entity, known, paths, max_reject_fraction):
  """Opens the log; returns it, and its rows with their past features."""
  past, hidden = past_events.resolve(schema, entity, known)
  in_log = [*(feature for feature in known if feature.in_log), *hidden]
  opened = raw_log.open_events(
      engine,
      schema,
      entity,
      in_log,
      paths,
      max_reject_fraction=max_reject_fraction,
  )
  rows = ordering.select_events(opened, schema, entity, in_log)
  if not past:
    return opened, rows
  unwanted = set(map(ordered_events.feature_column, hidden))
  keep = [name for name in rows.columns if name not in unwanted]
  rows = _join_sides(engine, log, schema, entity, known, rows, past)
  # Of what is earlier in this log.
  return opened, past_events.add(rows, past, keep=keep)


def _join_sides(engine, log, schema, entity, features, rows, past):
  """Joins the columns of side tables that past features are of."""
  side_tables = raw_log.side_sources(schema, entity)
  opened = {
      owner: raw_log.open_side_table(
          engine,
          schema,
          owner,
          side_tables[owner],
          needed,
          sources.find_files(side_tables[owner].files, log.data_dir),
          max_reject_fraction=1.0,  # Of what is left out `prepare` has told.
      )
      for owner, needed in past_sides.wanted(
          past, side_tables, features
      ).items()
  }
  return past_sides.join(rows, past, opened, side_tables, features)


def _choose(rows, chosen):
  time = ordered_events.TIME
  if chosen.start is not None:
    rows = rows.filter(rows[time] >= chosen.start * _MICROSECONDS)
  if chosen.stop is not None:
    rows = rows.filter(rows[time] < chosen.stop * _MICROSECONDS)
  rows = rows.drop(*{ordering.FILE, ordering.ROW} & set(rows.columns))
  if chosen.limit:
    others = [name for name in rows.columns if name != time]
    rows = rows.order_by([time, *others]).limit(chosen.limit)
  return ordering.in_order(rows)


def _describe(chosen):
  bounds = [
      f'{word} {times.show(time)}'
      for word, time in (('from', chosen.start), ('before', chosen.stop))
      if time is not None
  ]
  return ' '.join(bounds) or 'in the log'


def slices(impressions: Impressions, max_rows: int):
  """Yields all impressions as `Slice`s of at most so many rows."""
  for part in impressions.rows.parts(impressions.rows.columns):
    for start in range(0, len(part), max_rows):
      yield _slice(part.slice(start, max_rows), impressions.features)


def _slice(part: pa.Table, features) -> Slice:
  codes, texts = ordered_events.codes_and_texts(part[ordered_events.ENTITY])
  first = np.flatnonzero(np.diff(codes, prepend=-1))
  return Slice(
      entities=texts.take(pa.array(codes[first])).to_pylist(),
      counts=np.diff(np.append(first, len(codes))),
      items=part[ordered_events.ITEM].to_pylist(),
      times=part[ordered_events.TIME].to_numpy() // _MICROSECONDS,
      labels=part[ordered_events.LABEL].to_numpy(),
      values={
          feature.name: _values(
              feature, part[ordered_events.feature_column(feature)].to_pylist()
          )
          for feature in features
      },
  )


def _values(feature, cells):
  """Returns cells as a request has them; an empty one is None, or no token."""
  if feature.kind != 'multi_hot':
    return cells
  return [
      [] if text is None else vocabulary.separate(text, feature)
      for text in cells
  ]
