"""Profiles a log: opens it, counts, and writes nothing."""

from collections.abc import Callable
import itertools
import pathlib
import tempfile

import duckdb

from limaml_jax import config as config_lib
from limaml_jax.data.engines import duckdb_engine
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.profile import columns
from limaml_jax.data.profile import events
from limaml_jax.data.profile import facts
from limaml_jax.data.profile import findings
from limaml_jax.data.profile import leaks
from limaml_jax.data.profile import opening
from limaml_jax.data.profile import past
from limaml_jax.data.profile import subjects as subjects_lib

_NUM_STEPS = 4


def profile(
    schema: schema_lib.Schema,
    data_dir: str | pathlib.Path,
    *,
    data: config_lib.DataConfig,
    memory_limit: str = duckdb_engine.MEMORY_LIMIT,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> facts.LogFacts:
  """Returns what the log of a schema is like, invalid rows included.

  Args:
    schema: says what is where.
    data_dir: that its files are relative to.
    data: names the adapted entity type.
    memory_limit: of the engine, such as '2GB'; what needs more goes to the
      machine's temporary directory, and is deleted.
    on_progress: told how many of how many steps are done.

  Returns:
    The facts, with findings.

  Raises:
    InputError: for a file, column or expression that is not there.
  """
  on_progress(0, _NUM_STEPS)
  with (
      tempfile.TemporaryDirectory() as scratch,
      duckdb_engine.connect(scratch, memory_limit) as connection,
  ):
    # One alone: each sets the zone of the connection anew.
    engine = duckdb_engine.DuckDbEngine(connection)
    log = opening.open_log(
        engine, schema, data_dir, task_entity=data.task_entity
    )
    past.add(engine, log)
    on_progress(1, _NUM_STEPS)
    known = _profile(connection, log, on_progress)
  return known._replace(findings=findings.find(known, schema))


def _profile(
    connection: duckdb.DuckDBPyConnection,
    log: opening.OpenLog,
    on_progress: Callable[[int, int], None],
) -> facts.LogFacts:
  time = events.describe_time(connection, log)
  subjects = subjects_lib.find(log)
  (label,) = (subject for subject in subjects if subject.kind == 'label')
  rows = log.opened[opening.LOG].num_rows
  entities, items, quantiles = events.count_by_key(connection, log)
  days = events.describe_days(connection, log, label)
  on_progress(2, _NUM_STEPS)
  described = [
      column
      for _, group in itertools.groupby(subjects, lambda s: s.table)
      for column in columns.describe(connection, list(group))
  ]
  on_progress(3, _NUM_STEPS)
  sampled_rows, leaking = leaks.find(connection, log, subjects, rows)
  result = facts.LogFacts(
      name=log.schema.name,
      files=log.opened[opening.LOG].table.files,
      rows=rows,
      rejects=_rejects(log),
      repeated_rows=events.count_repeated(connection, log),
      entities=entities,
      items=items,
      label_rate=next(c.mean for c in described if c.kind == 'label'),
      time=time,
      events_per_entity=quantiles,
      days=days,
      columns=tuple(described),
      coverage=events.count_coverage(connection, log),
      sampled_rows=sampled_rows,
      leaks=leaking,
  )
  on_progress(_NUM_STEPS, _NUM_STEPS)
  return result


def _rejects(log: opening.OpenLog) -> tuple[facts.RejectFacts, ...]:
  return tuple(
      facts.RejectFacts(
          table=name,
          field=opened.checks[number].field,
          wanted=opened.checks[number].wanted,
          rows=rows,
      )
      for name, opened in log.opened.items()
      for number, rows in sorted(opened.rejected.items())
  )
