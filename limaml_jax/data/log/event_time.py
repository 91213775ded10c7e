"""Event time: from a column of the log to microseconds since 1970 UTC."""

from typing import Protocol

import ibis
import ibis.expr.types as ir

from limaml_jax import errors
from limaml_jax.data.log import tables

# Log times outside these years are taken for a wrong unit.
EARLIEST = 631152000  # 1990-01-01 UTC, seconds.
LATEST = 4102444800  # 2100-01-01 UTC, seconds.
_PER_SECOND = {'s': 1, 'ms': 1000, 'us': 1000000}
_LARGEST = 9e18  # Of 64 bits.


class Clock(Protocol):
  """The engine's reading of times, see `engine.Engine`."""

  def microseconds(self, time: tables.Column, zone: str) -> tables.Column:
    """Returns microseconds since 1970 UTC of times as SQL reads them."""
    ...


def microseconds(
    clock: Clock, rows: ir.Table, column: str, *, unit: str, zone: str
) -> tables.Column:
  """Returns microseconds since 1970 UTC, NULL where a time is unreadable.

  Args:
    clock: the engine.
    rows: of a table.
    column: that holds their time.
    unit: 's', 'ms' or 'us' since 1970, or 'iso'.
    zone: of 'iso' times that name none.
  """
  if unit == 'iso':
    return clock.microseconds(rows[column], zone)
  number: tables.Column = rows[column].try_cast('float64')
  number = number * (1000000 // _PER_SECOND[unit])
  nothing = ibis.null('int64')
  found = ibis.ifelse(number.abs() < _LARGEST, number.round(), nothing)
  return found.cast('int64')


def check_type(table: tables.Table, column: str, unit: str, key: str) -> None:
  """Refuses dates in a column that should hold numbers.

  Args:
    table: that has the column.
    column: of times.
    unit: that the schema gives them.
    key: of the schema that gives it, for the message.

  Raises:
    InputError: if the type does not fit the unit.
  """
  kind = table.columns[column]
  if unit != 'iso' and kind.startswith(('TIMESTAMP', 'DATE')):
    raise errors.InputError(
        f'{table.files[0]}: column {column!r} has type {kind}, expected'
        f" numbers; set {key} = 'iso'"
    )


def advise(value: str | None, unit: str, key: str) -> str:
  """Says which unit would make a time plausible.

  Args:
    value: as it stands in the file.
    unit: that was taken for its own.
    key: of the schema that gives the unit.
  """
  try:
    number = float(value or '')
  except ValueError:
    return 'mend the row'
  for other, per_second in _PER_SECOND.items():
    if other != unit and EARLIEST <= number / per_second <= LATEST:
      return f'set {key} = {other!r}'
  return f'mend the row or set {key}'
