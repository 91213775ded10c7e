"""Side tables in memory, and the lookup of their rows by key."""

from collections.abc import Sequence
import logging
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from limaml_jax import errors
from limaml_jax.data.log import opened as opened_lib
from limaml_jax.data.log import raw_log
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import values
from limaml_jax.data.tasks.ordered_events import feature_column

_LOGGER = logging.getLogger(__name__)
_KEY = 'key'


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
    opened: opened_lib.Opened,
    source: schema_lib.SideTable,
    features: Sequence[schema_lib.Feature],
) -> SideRows:
  """Reads a side table with one row per key.

  Args:
    opened: the table.
    source: its schema.
    features: that stand in it.
  """
  rows = opened.accepted
  columns = {_KEY: values.as_text(rows[source.key])}
  for feature in features:
    value = rows[raw_log.column_of(opened.table, feature)]
    columns[feature_column(feature)] = values.of_feature(value, feature)
  found = rows.select(**columns).order_by(_KEY).to_pyarrow().combine_chunks()
  take = lambda name: found[name].combine_chunks()
  return SideRows(
      keys=take(_KEY),
      columns={f.name: take(feature_column(f)) for f in features},
      place=opened.table.files[0],
  )


def rows_of(keys: pa.Array, side: SideRows, what: str) -> np.ndarray:
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
    )  # fmt: skip
  return rows
