"""DuckDB: on one machine, within bounds of memory, spilling to disk."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import os
import pathlib

import duckdb
import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from limaml_jax import errors
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import sources
from limaml_jax.data.log import tables

MEMORY_LIMIT = '2GB'


@contextlib.contextmanager
def connect(
    scratch: str | os.PathLike, memory_limit: str = MEMORY_LIMIT
) -> Iterator[duckdb.DuckDBPyConnection]:
  """Holds a connection that keeps what exceeds its memory in `scratch`.

  Args:
    scratch: directory on a disk with room for the log.
    memory_limit: such as '2GB'.

  Raises:
    InputError: if the limit is none, or the engine fails on a file.
  """
  settings = {
      'temp_directory': os.fspath(scratch),
      'memory_limit': memory_limit,
  }
  try:
    connection = duckdb.connect(config=settings)
  except duckdb.Error as error:
    raise errors.InputError(
        f'--memory_limit={memory_limit}: {_first_line(error)}; give one such'
        f' as {MEMORY_LIMIT}'
    ) from error
  with connection:
    try:
      connection.execute("SET TimeZone = 'UTC'")
      yield connection
    except duckdb.Error as error:
      raise errors.InputError(
          f'the log cannot be read: {_first_line(error)}; mend what it names,'
          ' or raise --memory_limit if it is memory'
      ) from error


def _first_line(error: duckdb.Error) -> str:
  lines = str(error).strip().splitlines()
  return lines[0] if lines else type(error).__name__


@ibis.udf.scalar.builtin(name='epoch_us', signature=((dt.timestamp,), dt.int64))
def _epoch_us(time):
  """DuckDB's own."""


class DuckDbEngine:
  """The embedded engine; see `engine.Engine`."""

  def __init__(self, connection: duckdb.DuckDBPyConnection):
    self.connection = connection
    self.backend = ibis.duckdb.from_connection(connection)

  def open_table(
      self,
      name: str,
      source: schema_lib.Interactions | schema_lib.SideTable,
      paths: Sequence[pathlib.Path],
      *,
      columns: Mapping[str, str],
      formulas: Mapping[str, str],
  ) -> tables.Table:
    """Opens files of any format."""
    return sources.open_table(
        self.connection,
        name,
        source,
        paths,
        columns=columns,
        formulas=formulas,
    )

  def microseconds(self, time: tables.Column, zone: str) -> tables.Column:
    """As `engine.Engine`."""
    self.connection.execute(f'SET TimeZone = {tables.literal(zone)}')
    return _epoch_us(time.try_cast(dt.Timestamp(timezone='UTC')))

  def write(
      self, rows: ir.Table, path: pathlib.Path, rows_per_group: int
  ) -> list[pathlib.Path]:
    """Writes one file."""
    self.connection.execute(
        f'COPY ({self.backend.compile(rows)}) TO {tables.literal(str(path))}'
        f' (FORMAT parquet, ROW_GROUP_SIZE {rows_per_group})'
    )
    return [path]

  def read(self, paths: Sequence[pathlib.Path]) -> ir.Table:
    """As `engine.Engine`."""
    return self.backend.read_parquet([str(path) for path in paths])
