"""Opens logs and side tables with DuckDB, so that each row knows its place.

Text formats are read as text throughout: a key stays as it is spelled, and a
value that is not what it should be can be shown with its file and line.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import csv
import glob
import gzip
import itertools
import pathlib
import zlib

import duckdb

from limaml_jax import errors
from limaml_jax.data.log import expressions
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import tables

_UNREADABLE = (
    OSError, EOFError, UnicodeDecodeError, StopIteration, csv.Error, zlib.error
)  # fmt: skip


def find_files(
    patterns: Sequence[str], data_dir: str | pathlib.Path
) -> list[pathlib.Path]:
  """Expands globs relative to `data_dir`, sorted by name.

  Raises:
    InputError: if a glob matches nothing, or a file is empty.
  """
  directory = pathlib.Path(data_dir)
  if not directory.is_dir():
    raise errors.InputError(f'{directory}: no such directory; set data_dir')
  files: list[pathlib.Path] = []
  for pattern in patterns:
    found = map(pathlib.Path, glob.glob(str(directory / pattern)))
    found = sorted(path for path in found if path.is_file())
    if not found:
      raise errors.InputError(
          f'{directory / pattern}: not found; put the file there or correct'
          ' `files` in the schema'
      )
    files += [path for path in found if path not in files]
  for path in files:
    if path.stat().st_size == 0:
      raise errors.InputError(f'{path}: is empty; expected a log with rows')
  return files


def open_table(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    source: schema_lib.Interactions | schema_lib.SideTable,
    paths: Sequence[pathlib.Path],
    *,
    columns: Mapping[str, str],
    formulas: Mapping[str, str],
) -> tables.Table:
  """Loads the needed columns of a source into DuckDB table `name`.

  Args:
    connection: DuckDB, which receives the table.
    name: of the table.
    source: how to read the files.
    paths: of the files.
    columns: that must be there, with the place in the schema that says so.
    formulas: SQL expressions over the columns, with the place in the schema
      that gave each.

  Returns:
    The table, with one more column per formula.

  Raises:
    InputError: if a file is missing, empty or torn, or lacks a column.
  """
  columns_of = [read_columns(connection, path, source) for path in paths]
  shared = shared_columns(columns_of)
  used = expressions.referenced_columns(formulas, shared)
  needed = list(dict.fromkeys([*columns, *used]))
  for path, present in zip(paths, columns_of, strict=True):
    check_columns(path, present, needed, columns)
  if source.format == 'parquet':
    # Read again by whoever asks for a column: a log need not fit into memory.
    rows = _select_parquet(paths, columns_of, needed)
    view = f'CREATE OR REPLACE VIEW {name}_raw AS {rows}'
    _execute(connection, view, paths[0])
  else:
    verb = f'CREATE OR REPLACE TABLE {name}_raw AS'
    for index, path in enumerate(paths):
      rows = _select_text(path, source, index, columns_of[index], needed)
      _execute(connection, f'{verb} {rows}', path)
      verb = f'INSERT INTO {name}_raw'
  table = tables.Table(
      name=name,
      files=tuple(str(path) for path in paths),
      columns=shared,
      is_text=source.format != 'parquet',
      typed={},
      computed={},
  )
  return expressions.compute(
      connection,
      table,
      needed=needed,
      used=used,
      formulas=formulas,
  )


def _execute(connection, statement, path):
  try:
    connection.execute(statement)
  except duckdb.Error as error:
    raise errors.InputError(_explain(path, error)) from error


def shared_columns(
    columns_of: Sequence[Mapping[str, str]],
) -> dict[str, str]:
  """Returns the columns that all files have, with their types in the first."""
  return {
      column: kind
      for column, kind in columns_of[0].items()
      if all(column in others for others in columns_of)
  }


def check_columns(
    path: pathlib.Path,
    present: Mapping[str, str],
    needed: Sequence[str],
    asked_by: Mapping[str, str],
) -> None:
  """Refuses a file that lacks a column.

  Args:
    path: of the file.
    present: its columns.
    needed: columns that must be there.
    asked_by: place in the schema that names each; an expression otherwise.

  Raises:
    InputError: for the first that is missing.
  """
  for column in needed:
    if column not in present:
      asked = asked_by.get(column, 'an expression')
      raise errors.InputError(
          f'{path}: no column {column!r} for {asked}; correct it, the columns'
          f' are {", ".join(present)}'
      )


def read_columns(
    connection: duckdb.DuckDBPyConnection,
    path: pathlib.Path,
    source: schema_lib.Interactions | schema_lib.SideTable,
) -> dict[str, str]:
  """Returns the type of each column; an atomic header may say `:float`.

  Raises:
    InputError: if the file is torn.
  """
  if source.format == 'parquet':
    try:
      rows = connection.execute(
          f'DESCRIBE SELECT * FROM read_parquet({tables.literal(str(path))})'
      ).fetchall()
    except duckdb.Error as error:
      raise errors.InputError(_explain(path, error)) from error
    return {row[0]: row[1] for row in rows}
  separator = '\t' if source.format == 'atomic' else source.separator
  opener = gzip.open if path.suffix == '.gz' else open
  quoting = csv.QUOTE_NONE if source.format == 'atomic' else csv.QUOTE_MINIMAL
  try:
    with opener(path, 'rt', encoding='utf-8-sig', newline='') as file:
      header = next(csv.reader(file, delimiter=separator, quoting=quoting))
  except _UNREADABLE as error:
    raise errors.InputError(_explain(path, error)) from error
  if source.format == 'atomic':
    header = [column.split(':')[0] for column in header]
  for column in header:
    if header.count(column) > 1:
      raise errors.InputError(
          f'{path}: line 1: column {column!r} is there twice; rename one'
      )
  return dict.fromkeys(header, 'VARCHAR')


def _select_parquet(paths, columns_of, needed):
  """Returns SQL that reads the needed columns, files and rows numbered.

  Files in a row with columns of one type are read in one scan: faster than
  file by file, and a query whose length does not grow with them.
  """
  names = ', '.join(tables.quote(column) for column in needed)

  def alike(index):
    # Of files in `column=value` directories a scan may leave some out, and
    # counts those that are left.
    apart = index if '=' in str(paths[index].parent) else -1
    return apart, [columns_of[index][column] for column in needed]

  scans = []
  for _, group in itertools.groupby(range(len(paths)), alike):
    first, *others = group
    files = ', '.join(
        tables.literal(str(paths[index])) for index in (first, *others)
    )
    scans.append(
        f'SELECT file_index::INTEGER + {first} AS {tables.FILE},'
        f' file_row_number AS {tables.ROW}, {names}'
        f' FROM read_parquet([{files}])'
    )
  return ' UNION ALL '.join(scans)


def _select_text(path, source, index, present, needed):
  """Returns SQL that reads the needed columns of one file, rows numbered."""
  names = ', '.join(tables.quote(column) for column in needed)
  file = tables.literal(str(path))
  atomic = source.format == 'atomic'
  separator = tables.literal('\t' if atomic else source.separator)
  quotation = tables.literal('' if atomic else '"')
  kinds = ', '.join(
      f"{tables.literal(column)}: 'VARCHAR'" for column in present
  )
  return (
      f'SELECT {index} AS {tables.FILE},'
      f' row_number() OVER () - 1 AS {tables.ROW}, {names}'
      f' FROM read_csv({file}, auto_detect = false, header = true,'
      f' columns = {{{kinds}}}, delim = {separator}, quote = {quotation},'
      f" escape = {quotation}, nullstr = '')"
  )


def _explain(path, error):
  """Reduces an engine's long message to one line that names the file."""
  lines = [line.strip() for line in str(error).splitlines() if line.strip()]
  reason = lines[0] if lines else type(error).__name__
  if 'CSV Error on Line' in reason:
    line = reason.rsplit(':', 1)[1].strip()
    reason = ', '.join(lines[1:3])
    return f'{path}: line {line}: {reason}; mend that line'
  reason = reason.replace(f"'{path}'", 'the file')
  return f'{path}: cannot be read: {reason}; write or copy the file again'
