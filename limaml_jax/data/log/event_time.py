"""Event time: from a column of the log to microseconds since 1970 UTC."""

import duckdb

from limaml_jax import errors
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import tables
from limaml_jax.data.log import validation

# Log times outside these years are taken for a wrong unit.
EARLIEST = 631152000  # 1990-01-01 UTC, seconds.
LATEST = 4102444800  # 2100-01-01 UTC, seconds.
_PER_SECOND = {'s': 1, 'ms': 1000, 'us': 1000000}


def microseconds(interactions: schema_lib.Interactions) -> str:
  """Returns SQL for the microseconds since 1970 UTC of an event."""
  column = tables.quote(interactions.timestamp)
  if interactions.timestamp_unit == 'iso':
    return f'epoch_us(TRY_CAST({column} AS TIMESTAMPTZ))'
  factor = 1000000 // _PER_SECOND[interactions.timestamp_unit]
  return f'TRY_CAST(round(TRY_CAST({column} AS DOUBLE) * {factor}) AS BIGINT)'


def check(
    connection: duckdb.DuckDBPyConnection,
    table: tables.Table,
    interactions: schema_lib.Interactions,
) -> None:
  """Refuses empty, unreadable and implausible times.

  Args:
    connection: DuckDB.
    table: the log.
    interactions: its schema.

  Raises:
    InputError: for the first such row.
  """
  time = microseconds(interactions)
  name, unit = interactions.timestamp, interactions.timestamp_unit
  kind = table.columns[name]
  if unit != 'iso' and kind.startswith(('TIMESTAMP', 'DATE')):
    raise errors.InputError(
        f"{table.files[0]}: column {name!r} has type {kind}, expected numbers;"
        " set timestamp_unit = 'iso'"
    )
  column = f'CAST({tables.quote(name)} AS VARCHAR)'
  found = validation.first_row(connection, table, f'({time}) IS NULL', column)
  if found:
    wanted = 'an ISO time' if unit == 'iso' else f'a number ({unit} since 1970)'
    raise errors.InputError(
        f'{found[0]}: column {name!r} is {found[1]!r}, expected {wanted}; mend'
        ' the row or set timestamp_unit'
    )
  low, high = EARLIEST * 1000000, LATEST * 1000000
  found = validation.first_row(
      connection, table, f'({time}) NOT BETWEEN {low} AND {high}', column
  )
  if found:
    raise errors.InputError(
        f'{found[0]}: column {name!r} is {found[1]!r}, expected a time between'
        f' 1990 and 2100 in {unit!r}; {_advise(found[1], unit)}'
    )


def _advise(value, unit):
  """Says which unit would make a time plausible."""
  try:
    number = float(value)
  except (TypeError, ValueError):
    return 'mend the row'
  for other, per_second in _PER_SECOND.items():
    if other != unit and EARLIEST <= number / per_second <= LATEST:
      return f'set timestamp_unit = {other!r}'
  return 'mend the row or set timestamp_unit'
