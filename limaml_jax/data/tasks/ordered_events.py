"""Ordered events: the log by entity and time, in files that are read in parts.

The engine sorts, and spills to disk what does not fit into memory. From here
on the log streams by, one part of a few hundred thousand events at a time.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from concurrent import futures
import pathlib
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from limaml_jax.data.log import schema as schema_lib

ENTITY, TIME, ITEM, LABEL = 'entity', 'time', 'item', 'label'
TARGET, WEIGHT = 'target', 'weight'  # Where the schema gives them.
ROWS_PER_PART = 2**18


class OrderedEvents(NamedTuple):
  """Events in the order of entity, time, item, and whatever else they are.

  Attributes:
    paths: of the Parquet files, one after another.
    num_events: that they hold.
    columns: of each event.
  """

  paths: tuple[pathlib.Path, ...]
  num_events: int
  columns: tuple[str, ...]

  def parts(self, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yields the events in order, texts dictionary-encoded.

    However the files divide them, parts are of one size: what is summed part
    by part is the same to the bit.
    """
    held, num_held = [], 0
    for group in _ahead(self._groups(list(columns))):
      held.append(group)
      num_held += len(group)
      while num_held >= ROWS_PER_PART:
        rows = _join(held)
        yield rows.slice(0, ROWS_PER_PART)
        num_held -= ROWS_PER_PART
        held = [rows.slice(ROWS_PER_PART)] if num_held else []
    if num_held:
      yield _join(held)

  def _groups(self, columns):
    for path in self.paths:
      with pq.ParquetFile(path) as file:
        texts = [
            field.name
            for field in file.schema_arrow
            if field.name in columns and pa.types.is_string(field.type)
        ]
      with pq.ParquetFile(path, read_dictionary=texts) as file:
        for part in range(file.num_row_groups):
          yield file.read_row_group(part, columns=columns).select(columns)


def _ahead(stream: Iterator[pa.Table]) -> Iterator[pa.Table]:
  """Yields what a stream does while a thread reads one further."""
  with futures.ThreadPoolExecutor(1) as thread:
    pending = thread.submit(next, stream, None)
    while (table := pending.result()) is not None:
      pending = thread.submit(next, stream, None)
      yield table


def _join(tables):
  if len(tables) == 1:
    return tables[0]
  return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def feature_column(feature: schema_lib.Feature) -> str:
  """Names the column of a feature that stands in the log."""
  return f'feature.{feature.name}'


def open_files(paths: Sequence[pathlib.Path]) -> OrderedEvents:
  """Opens files that hold ordered events together."""
  found = [pq.read_metadata(path) for path in paths]
  filled = [
      (path, file) for path, file in zip(paths, found, strict=True)
      if file.num_rows
  ]  # fmt: skip
  return OrderedEvents(
      paths=tuple(path for path, _ in filled),
      num_events=sum(file.num_rows for file in found),
      columns=tuple(found[0].schema.to_arrow_schema().names),
  )


def codes_and_texts(column: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
  """Returns where each cell stands among distinct texts, or -1, and those."""
  if not pa.types.is_dictionary(column.type):
    column = column.dictionary_encode()
  column = column.unify_dictionaries()
  if not column.num_chunks:
    return np.zeros(0, np.int64), pa.array([], pa.string())
  codes = pa.chunked_array([chunk.indices for chunk in column.chunks])
  return codes.fill_null(-1).to_numpy(), column.chunk(0).dictionary
