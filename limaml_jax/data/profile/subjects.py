"""Subjects: the columns that are told of, and when a value is invalid."""

from typing import NamedTuple

from limaml_jax.data.log import event_time
from limaml_jax.data.log import raw_log
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import tables
from limaml_jax.data.profile import opening


class Subject(NamedTuple):
  """A column to tell of, as SQL over its table.

  Attributes:
    name: of the feature, or of the column.
    table: 'log', 'entity' or 'item'.
    kind: as in `ColumnFacts`.
    type: DuckDB's.
    value: SQL for the value.
    invalid: SQL for whether the value is none that its kind allows.
    number: SQL for the value as a finite number, or nothing.
    out_of_range: SQL for whether it is beyond what the schema allows.
    separator: between the values of a text that is a list.
  """

  name: str
  table: str
  kind: str
  type: str
  value: str
  invalid: str
  number: str = 'NULL::DOUBLE'
  out_of_range: str = 'false'
  separator: str = ''

  @property
  def is_feature(self) -> bool:
    """Whether it is one."""
    return self.kind in schema_lib.KINDS or self.is_past

  @property
  def is_past(self) -> bool:
    """Whether it is a feature made of earlier events."""
    return self.kind in schema_lib.PAST_KINDS

  @property
  def is_number(self) -> bool:
    """Whether it is a feature whose values are numbers."""
    return self.kind in schema_lib.NUMBER_KINDS or self.is_past


def find(log: opening.OpenLog) -> list[Subject]:
  """Returns the subjects: keys, time, label, features, and the rest."""
  interactions = log.schema.interactions
  result = [
      _key(log, opening.LOG, log.entity.key),
      _key(log, opening.LOG, interactions.item),
      _time(log),
      _label(log),
  ]
  if interactions.target:
    result.append(_target(log))
  if interactions.weight:
    result.append(_weight(log))
  for feature in log.features:
    result.append(_feature(log, feature))
  for owner, source in log.side_tables().items():
    result.append(_key(log, owner, source.key))
  for name, opened in log.opened.items():
    result += _typed(log, name, opened.table)
  order = list(log.opened)
  return sorted(result, key=lambda subject: order.index(subject.table))


def finite(value: str) -> str:
  """Returns SQL for a value as a finite number, NULL if it is none."""
  number = f'TRY_CAST({value} AS DOUBLE)'
  return f'CASE WHEN isfinite({number}) THEN {number} END'


def _key(log, table, column):
  value = tables.quote(column)
  invalid = f'({value} IS NULL OR CAST({value} AS VARCHAR) = \'\')'
  return Subject(
      column, table, 'key', log.types[table][column], value, invalid
  )


def _time(log):
  interactions = log.schema.interactions
  column = interactions.timestamp
  low, high = event_time.EARLIEST * 1000000, event_time.LATEST * 1000000
  time = tables.quote(raw_log.TIME)
  invalid = f'coalesce({time} NOT BETWEEN {low} AND {high}, true)'
  return Subject(
      column, opening.LOG, 'time', log.types[opening.LOG][column],
      tables.quote(column), invalid,
  )


def _label(log):
  label = log.schema.interactions.label
  found = _computed(log, label, 'label')
  number = f'TRY_CAST({found.value} AS DOUBLE)'
  return found._replace(
      invalid=f'coalesce({number} NOT IN (0, 1), true)',
      number=f'CASE WHEN {number} IN (0, 1) THEN {number} END',
  )


def _target(log):
  found = _computed(log, log.schema.interactions.target, 'target')
  number = finite(found.value)
  invalid = f'coalesce(({number}) NOT BETWEEN 0 AND 1, true)'
  return found._replace(invalid=invalid, number=number)


def _weight(log):
  found = _computed(log, log.schema.interactions.weight, 'weight')
  number = finite(found.value)
  invalid = f'coalesce(({number}) <= 0, true)'
  return found._replace(invalid=invalid, number=number)


def _computed(log, formula, kind):
  column = log.opened[opening.LOG].table.computed[formula]
  return Subject(
      formula, opening.LOG, kind, log.types[opening.LOG][column],
      tables.quote(column), 'false',
  )


def _typed(log, name, table):
  """Returns columns of a text file that expressions take for numbers."""
  result = []
  for column, kind in table.typed.items():
    value = tables.quote(column)
    invalid = f'({value} IS NOT NULL AND TRY_CAST({value} AS {kind}) IS NULL)'
    result.append(
        Subject(
            column, name, 'expression', log.types[name][column], value,
            invalid, number=finite(value),
        )
    )
  return result


def _feature(log: opening.OpenLog, feature: schema_lib.Feature) -> Subject:
  table, column = log.table_of(feature), log.column_of(feature)
  value, kind = tables.quote(column), log.types[table][column]
  subject = Subject(feature.name, table, feature.kind, kind, value, 'false')
  if feature.is_past:
    return subject._replace(number=value)
  if feature.kind == 'multi_hot':
    return subject._replace(separator=feature.separator)
  if not feature.is_number:
    return subject
  number = finite(value)
  invalid = f'({value} IS NOT NULL AND ({number}) IS NULL)'
  if feature.transform == 'log1p':
    invalid = f'({invalid} OR coalesce(({number}) <= -1, false))'
  bounds = {'<': feature.minimum, '>': feature.maximum}
  beyond = ' OR '.join(
      f'({number}) {sign} {bound!r}::DOUBLE'
      for sign, bound in bounds.items() if bound is not None
  )
  return subject._replace(
      invalid=invalid,
      number=number,
      out_of_range=f'coalesce({beyond}, false)' if beyond else 'false',
  )
