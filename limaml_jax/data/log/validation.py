"""Validation: finds the first row that is wrong and says where it is.

Each check raises InputError for the first offending row, by file and row.
"""

import duckdb

from limaml_jax import errors
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import tables


def first_row(
    connection: duckdb.DuckDBPyConnection,
    table: tables.Table,
    condition: str,
    *values: str,
) -> tuple | None:
  """Returns (place, *values) of the first row where `condition` holds."""
  columns = ', '.join([tables.FILE, tables.ROW, *values])
  row = connection.execute(
      f'SELECT {columns} FROM {tables.quote(table.name)} WHERE {condition}'
      f' ORDER BY {tables.FILE}, {tables.ROW} LIMIT 1'
  ).fetchone()
  return row and (table.place(row[0], row[1]), *row[2:])


def check_numbers(
    connection: duckdb.DuckDBPyConnection, table: tables.Table
) -> None:
  """Refuses text in a column that an expression takes for numbers."""
  for name, kind in table.typed.items():
    column = tables.quote(name)
    found = first_row(
        connection,
        table,
        f'{column} IS NOT NULL AND TRY_CAST({column} AS {kind}) IS NULL',
        column,
    )
    if found:
      raise errors.InputError(
          f'{found[0]}: column {name!r} is {found[1]!r}, expected a number'
          ' like the rest of the column; mend or remove the row'
      )


def check_key(
    connection: duckdb.DuckDBPyConnection, table: tables.Table, name: str
) -> None:
  """Refuses rows without a key."""
  found = first_row(connection, table, f'{tables.quote(name)} IS NULL')
  if found:
    raise errors.InputError(
        f'{found[0]}: column {name!r} is empty, expected a key; mend or remove'
        ' the row'
    )


def check_unique(
    connection: duckdb.DuckDBPyConnection, table: tables.Table, name: str
) -> None:
  """Refuses a key that has two rows in a side table."""
  found = _first_repetition(connection, table, [tables.quote(name)])
  if found:
    first, second, key = found
    raise errors.InputError(
        f'{second}: column {name!r} is {key!r} as in {first}, expected one row'
        ' per key; remove one'
    )


def check_events(
    connection: duckdb.DuckDBPyConnection,
    table: tables.Table,
    name: str,
    item: str,
    time: str,
) -> None:
  """Refuses rows alike in entity, item and time (SQL for microseconds)."""
  columns = [tables.quote(name), tables.quote(item), time]
  found = _first_repetition(connection, table, columns)
  if found:
    raise errors.InputError(
        f'{found[1]}: columns {name!r} and {item!r} and the time are as in'
        f" {found[0]}; remove one, or set duplicates = 'first' or 'keep'"
    )


def check_label(
    connection: duckdb.DuckDBPyConnection, table: tables.Table, label: str
) -> None:
  """Refuses a label that is neither 0 nor 1."""
  column = tables.quote(table.computed[label])
  number = f'TRY_CAST({column} AS DOUBLE)'
  found = first_row(
      connection,
      table,
      f'{number} IS NULL OR {number} NOT IN (0, 1)',
      f'CAST({column} AS VARCHAR)',
  )
  if found:
    raise errors.InputError(
        f'{found[0]}: label {label!r} is {found[1]!r}, expected 0 or 1; mend'
        " the row or give an expression such as 'rating >= 4'"
    )


def check_numeric(
    connection: duckdb.DuckDBPyConnection,
    table: tables.Table,
    feature: schema_lib.Feature,
    column: str,
) -> None:
  """Refuses values of a numeric feature that are not finite numbers.

  Args:
    connection: DuckDB.
    table: that the feature stands in.
    feature: the feature.
    column: that holds its values.
  """
  value = tables.quote(column)
  number = f'TRY_CAST({value} AS DOUBLE)'
  conditions = {
      'a finite number': (
          f'{value} IS NOT NULL AND'
          f' ({number} IS NULL OR NOT isfinite({number}))'
      )
  }
  if feature.fill is None:
    conditions['a number, or a `fill` in the schema'] = f'{value} IS NULL'
  if feature.transform == 'log1p':
    conditions['a number above -1 for log1p'] = f'{number} <= -1'
  for wanted, condition in conditions.items():
    found = first_row(
        connection, table, condition, f'CAST({value} AS VARCHAR)'
    )
    if found:
      raise errors.InputError(
          f'{found[0]}: column {feature.column or feature.expression!r} is'
          f' {found[1]!r}, expected {wanted}; mend the row or feature'
          f' {feature.name!r}'
      )


def _first_repetition(connection, table, columns):
  """Returns the places of the first repeated row, and its first column."""
  place = f'{{"file": {tables.FILE}, "row": {tables.ROW}}}'
  found = connection.execute(
      'SELECT first, second, key FROM ('
      f' SELECT min({place}) AS first, min({place}, 2)[2] AS second,'
      f' any_value({columns[0]}) AS key FROM {tables.quote(table.name)}'
      f' GROUP BY {", ".join(columns)} HAVING count(*) > 1)'
      ' ORDER BY second LIMIT 1'
  ).fetchone()
  if not found:
    return None
  first, second, key = found
  return table.place(**first), table.place(**second), key
