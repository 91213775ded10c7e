"""Side tables in memory, and the lookup of their rows by key."""

import logging
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from limaml_jax import errors
from limaml_jax.data.log import raw_log
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import tables

_LOGGER = logging.getLogger(__name__)


class SideRows(NamedTuple):
  """Rows of a side table.

  Attributes:
    keys: Arrow strings.
    columns: Arrow arrays by name of the feature, in the order of `keys`.
    place: the file, for messages.
  """

  keys: pa.Array
  columns: dict[str, pa.Array]
  place: str

  def find(self, keys: pa.Array) -> np.ndarray:
    """Returns the row of each key, -1 where there is none, [keys]."""
    return find(keys, self.keys)


def find(keys: pa.Array, known: pa.Array) -> np.ndarray:
  """Returns the position of each key among the known, or -1, [keys]."""
  # Arrow makes its compute functions on import, unseen by type checkers.
  found = pc.index_in(keys, value_set=known)  # pyrefly: ignore
  return found.fill_null(-1).to_numpy(zero_copy_only=False)


def read(
    connection: duckdb.DuckDBPyConnection,
    log: raw_log.RawLog,
    source: schema_lib.SideTable,
    *,
    owner: str,
) -> SideRows:
  """Reads the side table of `owner`, 'entity' or 'item', with its features.

  Raises:
    InputError: if it knows none of the log's keys.
  """
  features = [
      feature for feature in log.features
      if feature.owner == owner and not feature.in_log
  ]
  table = log.side_tables[owner]
  names = [f'CAST({tables.quote(source.key)} AS VARCHAR) AS key']
  names += [
      f'{value_sql(log, feature)} AS {tables.quote("feature." + feature.name)}'
      for feature in features
  ]
  rows = connection.sql(
      f'SELECT {", ".join(names)} FROM {tables.quote(table.name)} ORDER BY key'
  ).to_arrow_table().combine_chunks()
  return SideRows(
      keys=rows['key'].combine_chunks(),
      columns={
          feature.name: rows[f'feature.{feature.name}'].combine_chunks()
          for feature in features
      },
      place=table.files[0],
  )


def value_sql(log: raw_log.RawLog, feature: schema_lib.Feature) -> str:
  """Returns SQL for a feature's value: VARCHAR, or DOUBLE if numeric.

  A numeric value is filled and transformed; a list becomes one text.
  """
  value = tables.quote(log.column_of(feature))
  if feature.kind == 'numeric':
    value = f'TRY_CAST({value} AS DOUBLE)'
    if feature.fill is not None:
      value = f'coalesce({value}, {feature.fill!r}::DOUBLE)'
    return f'ln(1 + {value})' if feature.transform == 'log1p' else value
  if feature.separator == raw_log.LIST_SEPARATOR:
    return f'array_to_string({value}, chr({ord(feature.separator)}))'
  return f'CAST({value} AS VARCHAR)'


def rows_of(
    keys: pa.Array, side: SideRows, what: str
) -> np.ndarray:
  """Returns the side table's row of each of the log's keys, or -1, [keys].

  Raises:
    InputError: if it knows none of them, as if they were spelled otherwise.
  """
  rows = side.find(keys)
  missing = int(np.sum(rows < 0))
  if missing == len(rows):
    known = side.keys[0].as_py() if len(side.keys) else 'nothing'
    raise errors.InputError(
        f'{side.place}: none of the {len(rows)} {what} keys of the log is here'
        f' (log {keys[0].as_py()!r}, here {known!r}); spell them alike'
    )
  if missing:
    _LOGGER.info(
        '%s: %d of %d %s keys are not here', side.place, missing, len(rows),
        what,
    )
  return rows
