"""Checks of rows, written once for all engines: what is wrong with which.

A row that fails a check is rejected: left out, counted by reason, and written
to a file with its place. The first check that fails is its reason.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import NamedTuple

import ibis
import ibis.expr.types as ir

from limaml_jax.data.log import event_time
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import tables

# Index of the check that a row fails, or NULL.
REASON = '__reason'
_FIRST_FILE, _FIRST_ROW = '__first_file', '__first_row'
_MAX_KEY = 1024
_KINDS = {'BIGINT': 'int64', 'DOUBLE': 'float64'}

_Expression = Callable[[ir.Table], tables.Column]


class Check(NamedTuple):
  """Something that a row must not be.

  Attributes:
    field: what of the row it looks at, for people.
    wanted: what was expected there.
    failed: rows -> whether each fails.
    value: rows -> what stands there, as a text.
    advise: value -> what to do.
    is_place: whether the value is the place of another row.
  """

  field: str
  wanted: str
  failed: _Expression
  value: _Expression
  advise: Callable[[str | None], str]
  is_place: bool = False

  def describe(self, value: str | None) -> str:
    """Says what is wrong with a row that has `value` there."""
    found = 'empty' if value is None else repr(value)
    if self.is_place:  # Of the row that has it, too.
      found = f'as in {value}'
    return f'{self.field} is {found}, expected {self.wanted}'


class Unique(NamedTuple):
  """What no two rows may share; the first row that has it is kept.

  Attributes:
    columns: of the rows.
    field: what they are, for people.
    wanted: instead of a second row.
    advice: what to do.
  """

  columns: tuple[str, ...]
  field: str
  wanted: str
  advice: str


def judge(rows: ir.Table, checks: Sequence[Check]) -> ir.Table:
  """Adds column REASON to rows."""
  nothing = ibis.null('int32')
  if not checks:
    return rows.mutate(**{REASON: nothing})
  cases = [
      (check.failed(rows).fill_null(False), ibis.literal(n, 'int32'))
      for n, check in enumerate(checks)
  ]
  return rows.mutate(**{REASON: ibis.cases(*cases, else_=nothing)})


def judge_unique(
    judged: ir.Table, unique: Unique, number: int, table: tables.Table
) -> tuple[ir.Table, Check | None]:
  """Rejects all but the first of rows that share what none may.

  Args:
    judged: rows with column REASON; rejected ones are left as they are.
    unique: what no two may share.
    number: of this check.
    table: that the rows are of.

  Returns:
    The rows, and the check where one failed it: to look for the first of each
    takes longer than to see that there is nothing to look for.
  """
  accepted = judged.filter(judged[REASON].isnull())
  keys = accepted.select(*unique.columns)
  if keys.count().to_pyarrow().as_py() == keys.distinct().count().to_pyarrow(
  ).as_py():
    return judged, None
  window = ibis.window(
      group_by=[judged[REASON].isnull(), *unique.columns],
      order_by=[tables.FILE, tables.ROW],
  )
  judged = judged.mutate(**{
      _FIRST_FILE: judged[tables.FILE].first().over(window),
      _FIRST_ROW: judged[tables.ROW].first().over(window),
  })
  is_first = (judged[_FIRST_FILE] == judged[tables.FILE]) & (
      judged[_FIRST_ROW] == judged[tables.ROW]
  )
  judged = judged.mutate(**{
      REASON: ibis.ifelse(
          judged[REASON].isnull() & ~is_first,
          ibis.literal(number, 'int32'),
          judged[REASON],
      )
  })

  def place(rows):
    row: tables.Column = rows[_FIRST_ROW]
    file: tables.Column = table.file_names()[rows[_FIRST_FILE]]
    number = (row + table.first_row).cast('string')
    return file + f': {table.row_word} ' + number

  return judged, Check(
      field=unique.field,
      wanted=unique.wanted,
      failed=lambda rows: rows[REASON] == number,
      value=place,
      advise=lambda value: unique.advice,
      is_place=True,
  )


def of_key(name: str) -> list[Check]:
  """Refuses rows without a key, or with one that is a text of its own."""
  field = f'column {name!r}'
  wanted = f'a key of at most {_MAX_KEY} characters'
  too_long = lambda value: value.cast('string').length() > _MAX_KEY
  return [
      _check(name, field, 'a key', lambda value: value.isnull()),
      _check(name, field, wanted, too_long),
  ]


def of_numbers(table: tables.Table) -> list[Check]:
  """Refuses text in columns that an expression takes for numbers."""

  def is_text(kind):
    return lambda value: value.notnull() & value.try_cast(kind).isnull()

  return [
      _check(
          name,
          f'column {name!r}',
          'a number like the rest of the column',
          is_text(_KINDS[kind]),
      )
      for name, kind in table.typed.items()
  ]


def of_time(column: str, name: str, unit: str, key: str) -> list[Check]:
  """Refuses unreadable and implausible times.

  Args:
    column: that holds microseconds since 1970.
    name: of the column that they were read from.
    unit: of that.
    key: of the schema that gives the unit.
  """
  wanted = 'an ISO time' if unit == 'iso' else f'a number ({unit} since 1970)'
  low, high = event_time.EARLIEST * 1000000, event_time.LATEST * 1000000

  def is_outside(rows):
    time: tables.Column = rows[column]
    return ~time.between(low, high)

  value = lambda rows: rows[name].cast('string')
  return [
      Check(
          field=f'column {name!r}',
          wanted=wanted,
          failed=lambda rows: rows[column].isnull(),
          value=value,
          advise=lambda value: f'mend the row or set {key}',
      ),
      Check(
          field=f'column {name!r}',
          wanted=f'a time between 1990 and 2100 in {unit!r}',
          failed=is_outside,
          value=value,
          advise=lambda value: event_time.advise(value, unit, key),
      ),
  ]


def of_label(column: str, label: str) -> Check:
  """Refuses a label that is neither 0 nor 1."""

  def is_other(value):
    number = to_number(value)
    return number.isnull() | ~number.isin([0.0, 1.0])

  return _check(
      column,
      f'label {label!r}',
      '0 or 1',
      is_other,
      "mend the row or give an expression such as 'rating >= 4'",
  )


def of_target(column: str, target: str) -> Check:
  """Refuses a target that is no number from 0 to 1."""

  def is_other(value):
    number = to_number(value)
    return number.isnull() | ~number.between(0.0, 1.0)

  return _check(
      column, f'target {target!r}', 'a number from 0 to 1', is_other
  )


def of_weight(column: str, weight: str) -> Check:
  """Refuses a weight that is not a finite number above 0."""

  def is_other(value):
    number = to_number(value)
    return number.isnull() | ~_is_finite(number) | (number <= 0)

  return _check(
      column, f'weight {weight!r}', 'a finite number above 0', is_other
  )


def of_feature(column: str, feature: schema_lib.Feature) -> list[Check]:
  """Refuses what a feature of numbers cannot be."""
  name = feature.column or feature.expression
  return [
      _check(
          column,
          f'column {name!r}',
          wanted,
          failed,
          f'mend the row or feature {feature.name!r}',
      )
      for wanted, failed in _conditions(feature).items()
  ]


def _conditions(feature):
  """Returns what fails a number, by what is wanted instead."""
  low, high = feature.minimum, feature.maximum
  conditions = {
      'a finite number': lambda value: value.notnull()
      & (to_number(value).isnull() | ~_is_finite(to_number(value)))
  }
  if feature.fill is None and feature.kind == 'numeric':
    wanted = 'a number, or a `fill` in the schema'
    conditions[wanted] = lambda value: value.isnull()
  if feature.transform == 'log1p':
    wanted = 'a number above -1 for log1p'
    conditions[wanted] = lambda value: to_number(value) <= -1
  if low is not None:
    wanted = f'{low:g} or more (minimum)'
    conditions[wanted] = lambda value: to_number(value) < low
  if high is not None:
    wanted = f'{high:g} or less (maximum)'
    conditions[wanted] = lambda value: to_number(value) > high
  return conditions


def to_number(value: tables.Column) -> tables.Column:
  """Returns a value as float64, NULL where it is no number."""
  if value.type().is_boolean():
    value = value.cast('int8')
  return value.try_cast('float64')


def _is_finite(number):
  return ~(number.isnan() | number.isinf())


def _check(
    column, field, wanted, failed, advice='mend or remove the row'
) -> Check:
  """Makes a check of one column: `failed` of its values."""
  return Check(
      field=field,
      wanted=wanted,
      failed=lambda rows: failed(rows[column]),
      value=lambda rows: rows[column].cast('string'),
      advise=lambda value: advice,
  )
