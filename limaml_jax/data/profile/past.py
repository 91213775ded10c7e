"""Past features of a profiled log, computed as `prepare` does."""

from limaml_jax.data.engines import duckdb_engine
from limaml_jax.data.log import tables
from limaml_jax.data.profile import opening
from limaml_jax.data.tasks import ordering
from limaml_jax.data.tasks import past_events
from limaml_jax.data.tasks import past_sides

_PLACE = (tables.FILE, tables.ROW)


def add(engine: duckdb_engine.DuckDbEngine, log: opening.OpenLog) -> None:
  """Adds the columns of past features to the view of the log.

  Args:
    engine: that opened it.
    log: opened, side tables included. Rows that are rejected have no values,
      and count for none.
  """
  past, hidden = past_events.resolve(log.schema, log.entity, log.features)
  if not past:
    return
  in_log = [feature for feature in log.features if feature.in_log]
  rows = ordering.select_events(
      log.opened[opening.LOG],
      log.schema,
      log.entity,
      [*in_log, *hidden],
      keep=_PLACE,
  )
  rows = past_sides.join(
      rows, past, log.opened, log.side_tables(), log.features
  )
  _join(engine, log, past_events.add(rows, past, keep=_PLACE))


def _join(engine, log, found):
  """Keeps what was found, and joins it to the log."""
  view, stated, kept = (
      opening.view(name) for name in (opening.LOG, 'stated', 'past')
  )
  for statement in (
      # Not as a view: it would be computed anew by each query.
      f'CREATE TEMP TABLE {kept} AS {engine.backend.compile(found)}',
      f'ALTER VIEW {view} RENAME TO {stated}',
      f'CREATE VIEW {view} AS SELECT * FROM {stated} LEFT JOIN {kept} USING'
      f' ({", ".join(_PLACE)})',
  ):
    engine.connection.execute(statement)
  log.types[opening.LOG].update(
      (name, 'DOUBLE') for name in found.columns if name not in _PLACE
  )
