"""Ordered events: the log by entity and time, split by the protocol.

What the protocol drops is gone from here on: no later station can see it.
"""

from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from limaml_jax import config as config_lib
from limaml_jax.data.log import raw_log
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import tables
from limaml_jax.data.tasks import event_split
from limaml_jax.data.tasks import side_tables


class Events(NamedTuple):
  """Kept events in their order.

  Attributes:
    columns: Arrow table; log-borne features under their names.
    entity_keys: ascending, Arrow strings, N of them.
    item_keys: ascending, Arrow strings.
    offsets: entity n owns events offsets[n]:offsets[n + 1], [N + 1].
    items: position in `item_keys` of each event's item, [events].
    is_train: whether each event trains, [events] bool.
    split: that was applied.
  """

  columns: pa.Table
  entity_keys: pa.Array
  item_keys: pa.Array
  offsets: np.ndarray
  items: np.ndarray
  is_train: np.ndarray
  split: event_split.Split


def read(
    connection: duckdb.DuckDBPyConnection,
    log: raw_log.RawLog,
    schema: schema_lib.Schema,
    entity: schema_lib.Entity,
    *,
    known_items: pa.Array | None,
    protocol: config_lib.ProtocolConfig,
) -> Events:
  """Reads the log in order, independent of that of its rows, and splits it.

  Args:
    connection: DuckDB, which holds the log's tables.
    log: opened and validated.
    schema: that the log was opened by.
    entity: that is adapted.
    known_items: keys of the items' side table, if there is one.
    protocol: which events are kept, and which train.

  Returns:
    The kept events.

  Raises:
    InputError: if the protocol does not fit the log.
  """
  rows = _read_rows(connection, log, schema, entity)
  return _split(rows, known_items, protocol)


def _read_rows(connection, log, schema, entity):
  """Reads the log in the order of entity, time and item."""
  interactions = schema.interactions
  label = tables.quote(log.events.computed[interactions.label])
  columns = {
      'entity': f'CAST({tables.quote(entity.key)} AS VARCHAR)',
      'time': log.time,
      'item': f'CAST({tables.quote(interactions.item)} AS VARCHAR)',
      'label': f'CAST(CAST({label} AS DOUBLE) AS FLOAT)',
  }
  for feature in log.features:
    if feature.in_log:
      columns[f'feature.{feature.name}'] = side_tables.value_sql(log, feature)
  names = [tables.quote(name) for name in columns]
  values = ', '.join(
      f'{value} AS {name}'
      for name, value in zip(names, columns.values(), strict=True)
  )
  first_only = (
      ' QUALIFY row_number() OVER (PARTITION BY entity, time, item'
      f' ORDER BY {tables.FILE}, {tables.ROW}) = 1'
      if interactions.duplicates == 'first' else ''
  )
  # Where even label and features are alike, the rows cannot be told apart.
  return connection.sql(
      f'SELECT {", ".join(names)} FROM (SELECT {tables.FILE}, {tables.ROW},'
      f' {values} FROM events){first_only} ORDER BY {", ".join(names)}'
  ).to_arrow_table().combine_chunks()


def _split(rows, known_items, protocol):
  """Applies the protocol and forgets what it drops."""
  keys, offsets = _group(rows['entity'])
  seconds = rows['time'].to_numpy() // 1000000
  split = event_split.split_events(
      keys.to_pylist(), offsets, seconds, protocol=protocol
  )
  rows = rows.filter(pa.array(split.keep))
  counts = np.add.reduceat(split.keep.astype(np.int64), offsets[:-1])
  split = split._replace(
      num_history=split.num_history[counts > 0],
      num_train=split.num_train[counts > 0],
  )
  keys, offsets = _group(rows['entity'])
  item_keys = rows['item'].combine_chunks().unique()
  if known_items is not None:
    item_keys = pa.concat_arrays([item_keys, known_items]).unique()
  item_keys = item_keys.sort()
  position = np.arange(len(rows)) - np.repeat(offsets[:-1], np.diff(offsets))
  return Events(
      columns=rows,
      entity_keys=keys,
      item_keys=item_keys,
      offsets=offsets,
      items=side_tables.find(rows['item'].combine_chunks(), item_keys),
      is_train=position < np.repeat(split.num_train, np.diff(offsets)),
      split=split,
  )


def _group(column):
  """Returns the distinct values of a sorted column, and where each begins."""
  encoded = column.combine_chunks().dictionary_encode()
  codes = encoded.indices.to_numpy()
  sizes = np.bincount(codes, minlength=len(encoded.dictionary))
  return encoded.dictionary, np.concatenate([[0], np.cumsum(sizes)])
