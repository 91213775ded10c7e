"""SQL expressions of a schema: what they refer to, and their values.

In a text file nothing says which columns are numbers. A column that an
expression refers to is taken for one if most of its values are, so that a
single bad value is an error at its line instead of a change of type.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import json
from typing import Any

import duckdb

from limaml_jax import errors
from limaml_jax.data.log import tables

_INTEGER = r'[+-]?\d{1,18}'


def referenced_columns(
    formulas: Mapping[str, str],
    columns: Iterable[str],
) -> list[str]:
  """Returns the columns that any of the formulas refers to.

  Args:
    formulas: SQL expressions, with the place in the schema of each.
    columns: of the table; SQL ignores their case.

  Raises:
    InputError: if a formula is not one SQL expression.
  """
  spelled = {column.casefold(): column for column in columns}
  found = {}
  for formula, place in formulas.items():
    for name in names_in(formula, place):
      if name.casefold() in spelled:
        found[spelled[name.casefold()]] = None
  return list(found)


def names_in(formula: str, place: str) -> list[str]:
  """Returns the names that stand in an SQL expression.

  Raises:
    InputError: if it is not one SQL expression.
  """
  statement = f'SELECT ({formula}\n)'
  with duckdb.connect() as parser:
    rows = parser.execute(
        'SELECT json_serialize_sql(?::VARCHAR)', [statement]
    ).fetchall()
  tree = json.loads(rows[0][0])
  if tree['error'] or len(tree['statements']) != 1:
    reason = tree.get('error_message') or 'more than one statement'
    raise errors.InputError(
        f'{place}: {formula!r} is not an SQL expression:'
        f' {reason.splitlines()[0]}'
    )
  return list(dict.fromkeys(_walk(tree['statements'][0])))


def _walk(node: Any) -> Iterator[str]:
  if isinstance(node, dict):
    if node.get('class') == 'COLUMN_REF':
      yield node['column_names'][0]
    node = list(node.values())
  if isinstance(node, list):
    for child in node:
      yield from _walk(child)


def compute(
    connection: duckdb.DuckDBPyConnection,
    table: tables.Table,
    *,
    needed: Sequence[str],
    used: Sequence[str],
    formulas: Mapping[str, str],
) -> tables.Table:
  """Makes the table from its raw one, with one more column per formula.

  A formula that fails on a row, as by a cast, is NULL there.

  Args:
    connection: DuckDB.
    table: to make, a view if its raw one, named `<name>_raw`, is a view.
    needed: columns to keep as they are.
    used: those among them that a formula refers to.
    formulas: SQL expressions, with the place in the schema of each.

  Returns:
    The table, its `typed` and `computed` filled in.

  Raises:
    InputError: if a formula names no column of the table.
  """
  raw = tables.quote(f'{table.name}_raw')
  typed = _number_types(connection, raw, used) if table.is_text else {}
  columns = [
      f'{tables.quote("raw." + name)} AS {tables.quote(name)}'
      for name in needed
  ]
  rows = _rows(raw, needed, used, typed)
  computed = {}
  for index, (formula, where) in enumerate(formulas.items()):
    computed[formula] = f'formula.{index}'
    column = f'TRY(({formula}\n)) AS {tables.quote(computed[formula])}'
    try:
      connection.execute(f'EXPLAIN SELECT {column} FROM {rows}')
    except duckdb.Error as error:
      reason = str(error).splitlines()[0].strip()
      raise errors.InputError(
          f'{where}: {formula!r} does not fit {table.files[0]}: {reason};'
          f' the columns are {", ".join(table.columns)}'
      ) from error
    columns.append(column)
  kind = 'TABLE' if table.is_text else 'VIEW'
  names = ', '.join([tables.FILE, tables.ROW, *columns])
  connection.execute(
      f'CREATE OR REPLACE {kind} {tables.quote(table.name)} AS SELECT {names}'
      f' FROM {rows}'
  )
  if table.is_text:
    connection.execute(f'DROP TABLE {raw}')
  return table._replace(typed=typed, computed=computed)


def _rows(raw, needed, used, typed):
  """Returns SQL for rows with each column raw, and as expressions see it."""
  columns = [tables.FILE, tables.ROW]
  columns += [
      f'{tables.quote(name)} AS {tables.quote("raw." + name)}'
      for name in needed
  ]
  for name in used:
    column = tables.quote(name)
    if name in typed:
      column = f'TRY_CAST({column} AS {typed[name]}) AS {column}'
    columns.append(column)
  return f'(SELECT {", ".join(columns)} FROM {raw})'


def _number_types(connection, raw, used):
  """Returns BIGINT or DOUBLE for each text column of mostly numbers."""
  types = {}
  for name in used:
    column = tables.quote(name)
    values, numbers, integers = connection.execute(
        f'SELECT count({column}), count(TRY_CAST({column} AS DOUBLE)),'
        f' count(*) FILTER (regexp_full_match({column}, ?)) FROM {raw}',
        [_INTEGER],
    ).fetchone()
    if 2 * numbers > values or not values:
      types[name] = 'BIGINT' if integers == numbers else 'DOUBLE'
  return types
