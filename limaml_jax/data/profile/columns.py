"""Facts of columns: one pass for the counts of a table, one per column for
the frequent values.
"""

from collections.abc import Sequence

import duckdb

from limaml_jax.data.log import tables
from limaml_jax.data.profile import facts
from limaml_jax.data.profile import opening
from limaml_jax.data.profile import subjects as subjects_lib

NUM_FREQUENT = 5
_COUNTS = (
    'count(*) FILTER ({value} IS NULL)',
    'count(*) FILTER ({invalid})',
    'count(*) FILTER ({out_of_range})',
    'min({number})',
    'max({number})',
    'avg({number})',
)


def describe(
    connection: duckdb.DuckDBPyConnection,
    subjects: Sequence[subjects_lib.Subject],
) -> list[facts.ColumnFacts]:
  """Returns the facts of subjects that stand in one table."""
  view = opening.view(subjects[0].table)
  aggregates = [
      count.format(**subject._asdict())
      for subject in subjects for count in _COUNTS
  ]
  rows, *numbers = connection.execute(
      f'SELECT count(*), {", ".join(aggregates)} FROM {view}'
  ).fetchall()[0]
  result = []
  for index, subject in enumerate(subjects):
    start = index * len(_COUNTS)
    counted = numbers[start : start + len(_COUNTS)]
    nulls, invalid, out_of_range, low, high, mean = counted
    distinct, frequent = _frequent(connection, view, subject)
    result.append(
        facts.ColumnFacts(
            name=subject.name,
            table=subject.table,
            kind=subject.kind,
            type=subject.type,
            rows=rows,
            nulls=nulls,
            invalid=invalid,
            out_of_range=out_of_range,
            distinct=distinct,
            minimum=low,
            maximum=high,
            mean=mean,
            most_frequent=frequent,
        )
    )
  return result


def elements(subject: subjects_lib.Subject) -> str:
  """Returns SQL for the values inside a multi_hot one, as a list of texts."""
  if subject.type.endswith('[]'):
    return f'CAST({subject.value} AS VARCHAR[])'
  split = (
      f'string_split(CAST({subject.value} AS VARCHAR),'
      f' {tables.literal(subject.separator)})'
  )
  return f"list_filter({split}, lambda word: word <> '')"


def _frequent(connection, view, subject):
  """Returns how many values there are, and those that are most frequent."""
  rows = f'SELECT {subject.value} AS value FROM {view}'
  if subject.kind == 'multi_hot':
    rows = f'SELECT unnest({elements(subject)}) AS value FROM {view}'
  distinct, frequent = connection.execute(
      'SELECT count(*), min({rank: -number, text: CAST(value AS VARCHAR)},'
      f' {NUM_FREQUENT}) FROM (SELECT value, count(*) AS number'
      f' FROM ({rows}) WHERE value IS NOT NULL GROUP BY value)'
  ).fetchall()[0]
  return distinct, tuple(
      facts.ValueCount(one['text'], -one['rank']) for one in frequent or ()
  )
