"""Spark: for logs that outgrow a machine. Reads Parquet; needs pyspark, Java.

The session is local to the binary; executors are wherever the master has them.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import functools
import itertools
import os
import pathlib
import re

import duckdb
import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import py4j.protocol
import pyspark.errors
from pyspark.sql import DataFrame
from pyspark.sql import SparkSession
from pyspark.sql import functions
import sqlglot

from limaml_jax import errors
from limaml_jax.data.log import expressions
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import sources
from limaml_jax.data.log import tables

_UNFIT = (sqlglot.errors.SqlglotError, pyspark.errors.PySparkException)
_SETTINGS = {
    'spark.app.name': 'limaml prepare',
    'spark.ui.enabled': 'false',
    'spark.sql.session.timeZone': 'UTC',
    # A cast that fails is NULL, as the checks expect; never a stopped job.
    'spark.sql.ansi.enabled': 'false',
}
_LOCAL_SETTINGS = {
    'spark.driver.host': '127.0.0.1',
    'spark.driver.bindAddress': '127.0.0.1',
}


@contextlib.contextmanager
def connect(
    scratch: str | os.PathLike, master: str
) -> Iterator['SparkEngine']:
  """Holds a session.

  Args:
    scratch: directory for what exceeds memory, on each machine.
    master: such as 'local[*]', 'local-cluster[2,1,1024]' or
      'spark://HOST:7077'.

  Raises:
    InputError: if it cannot be started, or fails on a file.
  """
  try:
    session = _start(scratch, master)
  except Exception as error:  # The gateway to Java raises whatever it likes.
    raise errors.InputError(
        f'--engine=spark --spark_master={master}: cannot be started:'
        f' {_first_line(error)}; see that Java 17 is installed and the master'
        ' is there'
    ) from error
  try:
    yield SparkEngine(session)
  except (pyspark.errors.PySparkException, py4j.protocol.Py4JError) as error:
    raise errors.InputError(
        f'the log cannot be read: {_first_line(error)}; mend what it names'
    ) from error
  finally:
    session.stop()


def _start(scratch, master):
  builder = SparkSession.builder.master(master)
  settings = dict(_SETTINGS)
  if master.startswith('local'):
    os.environ.setdefault('SPARK_LOCAL_IP', '127.0.0.1')
    settings |= _LOCAL_SETTINGS
  settings['spark.local.dir'] = os.fspath(scratch)
  for name, value in settings.items():
    builder = builder.config(name, value)
  session = builder.getOrCreate()
  session.sparkContext.setLogLevel('ERROR')
  return session


def _first_line(error: Exception) -> str:
  lines = str(error).strip().splitlines()
  return lines[0] if lines else type(error).__name__


def _path(path: pathlib.Path) -> str:
  """Names a file, so that Spark takes nothing in it for a glob."""
  return re.sub(r'([][{}*?\\])', r'\\\1', path.absolute().as_posix())


@ibis.udf.scalar.builtin(
    name='unix_micros', signature=((dt.timestamp,), dt.int64)
)
def _unix_micros(time):
  """Spark's own."""


class SparkEngine:
  """The distributed engine; see `engine.Engine`."""

  def __init__(self, session: SparkSession):
    self._session = session
    self._numbers = itertools.count()
    self.backend = ibis.pyspark.connect(session)

  def open_table(
      self,
      name: str,
      source: schema_lib.Interactions | schema_lib.SideTable,
      paths: Sequence[pathlib.Path],
      *,
      columns: Mapping[str, str],
      formulas: Mapping[str, str],
  ) -> tables.Table:
    """Opens Parquet files; formulas are translated from DuckDB's SQL."""
    if source.format != 'parquet':
      raise errors.InputError(
          f'{paths[0]}: --engine=spark reads Parquet, not {source.format!r};'
          ' convert the log, or leave --engine out'
      )
    with duckdb.connect() as parser:
      columns_of = [sources.read_columns(parser, p, source) for p in paths]
    shared = sources.shared_columns(columns_of)
    used = expressions.referenced_columns(formulas, shared)
    needed = list(dict.fromkeys([*columns, *used]))
    for path, present in zip(paths, columns_of, strict=True):
      sources.check_columns(path, present, needed, columns)
    parts = [self._read(index, p, needed) for index, p in enumerate(paths)]
    rows = functools.reduce(DataFrame.unionByName, parts)
    computed = {}
    for index, (formula, place) in enumerate(formulas.items()):
      computed[formula] = f'formula.{index}'
      rows = self._compute(rows, formula, computed[formula], place)
    rows.createOrReplaceTempView(name)
    return tables.Table(
        name=name,
        files=tuple(str(path) for path in paths),
        columns=shared,
        is_text=False,
        typed={},
        computed=computed,
    )

  def _read(self, index, path, needed):
    rows = self._session.read.parquet(_path(path))
    return rows.select(
        functions.lit(index).alias(tables.FILE),
        functions.col('_metadata.row_index').alias(tables.ROW),
        *(functions.col(f'`{column}`') for column in needed),
    )

  def _compute(self, rows, formula, column, place):
    try:
      (expression,) = sqlglot.transpile(formula, read='duckdb', write='spark')
      return rows.withColumn(column, functions.expr(expression))
    except _UNFIT as error:
      raise errors.InputError(
          f'{place}: {formula!r} does not fit Spark: {_first_line(error)};'
          ' write it in SQL that both engines know'
      ) from error

  def microseconds(self, time: tables.Column, zone: str) -> tables.Column:
    """As `engine.Engine`."""
    self._session.conf.set('spark.sql.session.timeZone', zone)
    return _unix_micros(time.try_cast(dt.Timestamp(timezone='UTC')))

  def write(
      self, rows: ir.Table, path: pathlib.Path, rows_per_group: int
  ) -> list[pathlib.Path]:
    """Writes a folder of files, whose names are in the order of the rows."""
    frame = self._session.sql(self.backend.compile(rows))
    frame.write.option(
        'parquet.block.row.count.limit', str(rows_per_group)
    ).parquet(str(path))
    return sorted(path.glob('part-*.parquet'))

  def read(self, paths: Sequence[pathlib.Path]) -> ir.Table:
    """As `engine.Engine`."""
    name = f'read_{next(self._numbers)}'
    rows = self._session.read.parquet(*map(_path, paths))
    rows.createOrReplaceTempView(name)
    return self.backend.table(name)
