"""The engine that reads, checks and sorts logs: DuckDB, within bounds."""

from collections.abc import Iterator
import contextlib
import os

import duckdb

from limaml_jax import errors

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
