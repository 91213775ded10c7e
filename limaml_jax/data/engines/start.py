"""Starting the engine that `prepare` was asked for."""

from collections.abc import Iterator
import contextlib
import functools
import importlib.util
import os
from typing import Any

from limaml_jax import errors
from limaml_jax.data.engines import duckdb_engine
from limaml_jax.data.log import engine as engine_lib

NAMES = ('duckdb', 'spark')
DEFAULT_MASTER = 'local[*]'


class Engines:
  """Engines of one `prepare`, started when they are first asked for.

  Side tables fit into memory: DuckDB reads them, whatever reads the log.
  """

  def __init__(
      self,
      name: str,
      scratch: str | os.PathLike,
      memory_limit: str,
      spark_master: str,
  ):
    """Takes the engine of the log, and the arguments of `connect`."""
    if name not in NAMES:
      raise errors.InputError(
          f'--engine={name}: is not one of {", ".join(NAMES)}'
      )
    self._stack = contextlib.ExitStack()
    self._connect = functools.cache(
        lambda name: self._stack.enter_context(
            connect(
                name,
                scratch,
                memory_limit=memory_limit,
                spark_master=spark_master,
            )
        )
    )
    self._name = name

  def __enter__(self) -> 'Engines':
    self._stack.__enter__()
    return self

  def __exit__(self, *error: Any) -> bool | None:
    return self._stack.__exit__(*error)

  def for_log(self) -> engine_lib.Engine:
    """Returns the engine that reads, checks and orders the log."""
    return self._connect(self._name)

  def for_sides(self) -> engine_lib.Engine:
    """Returns the engine that reads side tables."""
    return self._connect('duckdb')


@contextlib.contextmanager
def connect(
    name: str,
    scratch: str | os.PathLike,
    *,
    memory_limit: str = duckdb_engine.MEMORY_LIMIT,
    spark_master: str = DEFAULT_MASTER,
) -> Iterator[engine_lib.Engine]:
  """Starts an engine.

  Args:
    name: 'duckdb' or 'spark'.
    scratch: directory for what exceeds its memory.
    memory_limit: of DuckDB, such as '2GB'.
    spark_master: where Spark runs, such as 'spark://HOST:7077'.

  Raises:
    InputError: if it cannot be started, or fails on a file.
  """
  if name == 'duckdb':
    with duckdb_engine.connect(scratch, memory_limit) as connection:
      yield duckdb_engine.DuckDbEngine(connection)
    return
  if not importlib.util.find_spec('pyspark'):
    raise errors.InputError(
        "--engine=spark: pyspark is not installed; pip install '.[spark]'"
    )
  from limaml_jax.data.engines import spark_engine  # An optional extra.

  with spark_engine.connect(scratch, spark_master) as found:
    yield found
