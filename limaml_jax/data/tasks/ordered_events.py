"""Ordered events: the log by entity and time, in a file that is read in parts.

The engine sorts, and spills to disk what does not fit into memory. From here
on the log streams by, one part of a few hundred thousand events at a time.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import pathlib
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from limaml_jax.data.log import raw_log
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import tables
from limaml_jax.data.tasks import side_tables

ENTITY, TIME, ITEM, LABEL = 'entity', 'time', 'item', 'label'
_ROWS_PER_PART = 2**18


class OrderedEvents(NamedTuple):
  """Events in the order of entity, time, item, and whatever else they are.

  Attributes:
    path: of the Parquet file.
    num_events: that it holds.
    columns: of each event.
  """

  path: pathlib.Path
  num_events: int
  columns: tuple[str, ...]

  def parts(self, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yields the events in order, texts dictionary-encoded."""
    with pq.ParquetFile(self.path) as file:
      texts = [
          field.name
          for field in file.schema_arrow
          if field.name in columns and pa.types.is_string(field.type)
      ]
    with pq.ParquetFile(self.path, read_dictionary=texts) as file:
      for part in range(file.num_row_groups):
        yield file.read_row_group(part, columns=list(columns))


def feature_column(feature: schema_lib.Feature) -> str:
  """Names the column of a feature that stands in the log."""
  return f'feature.{feature.name}'


def write(
    connection: duckdb.DuckDBPyConnection,
    log: raw_log.RawLog,
    schema: schema_lib.Schema,
    entity: schema_lib.Entity,
    path: pathlib.Path,
) -> OrderedEvents:
  """Sorts the log into `path`, whatever the order of its rows and files.

  Args:
    connection: DuckDB, which holds the log's tables.
    log: opened and validated.
    schema: that the log was opened by.
    entity: that is adapted.
    path: receives the events.
  """
  interactions = schema.interactions
  label = tables.quote(log.events.computed[interactions.label])
  columns = {
      ENTITY: f'CAST({tables.quote(entity.key)} AS VARCHAR)',
      TIME: log.time,
      ITEM: f'CAST({tables.quote(interactions.item)} AS VARCHAR)',
      LABEL: f'CAST(CAST({label} AS DOUBLE) AS FLOAT)',
  }
  for feature in log.features:
    if feature.in_log:
      columns[feature_column(feature)] = side_tables.value_sql(log, feature)
  names = ', '.join(map(tables.quote, columns))
  values = ', '.join(
      f'{value} AS {tables.quote(name)}' for name, value in columns.items()
  )
  first_only = (
      f' QUALIFY row_number() OVER (PARTITION BY {ENTITY}, {TIME}, {ITEM}'
      f' ORDER BY {tables.FILE}, {tables.ROW}) = 1'
      if interactions.duplicates == 'first' else ''
  )
  # Where even label and features are alike, the rows cannot be told apart.
  copied = connection.execute(
      f'COPY (SELECT {names} FROM (SELECT {tables.FILE}, {tables.ROW},'
      f' {values} FROM events){first_only} ORDER BY {names}) TO'
      f' {tables.literal(str(path))}'
      f' (FORMAT parquet, ROW_GROUP_SIZE {_ROWS_PER_PART})'
  ).fetchall()
  return OrderedEvents(path, copied[0][0], tuple(columns))


def codes_and_texts(column: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
  """Returns where each cell stands among distinct texts, or -1, and those."""
  if not pa.types.is_dictionary(column.type):
    column = column.dictionary_encode()
  column = column.unify_dictionaries()
  if not column.num_chunks:
    return np.zeros(0, np.int64), pa.array([], pa.string())
  codes = pa.chunked_array([chunk.indices for chunk in column.chunks])
  return codes.fill_null(-1).to_numpy(), column.chunk(0).dictionary
