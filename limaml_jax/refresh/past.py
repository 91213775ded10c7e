"""Past: whether what a snapshot was made of is still what it was.

A log is corrected, an event comes late, an attribute of a user changes: then an
embedding that is carried over is not what would be made today.
"""

import numpy as np

from limaml_jax.data import dataset
from limaml_jax.data import episodes

_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio.
_SHIFT = np.uint64(32)


def digest(
    table: dataset.TaskTable,
    cutoff: int,
    *,
    support_cap: int,
    members: np.ndarray | None = None,
) -> str:
  """Hashes what the embeddings of a cutoff are made of, in whatever order.

  Args:
    table: all tasks.
    cutoff: UTC seconds.
    support_cap: most events of an entity, the latest ones.
    members: entities that count, [entities] bool; all when left out.

  Returns:
    16 hexadecimal digits.
  """
  entities = np.arange(len(table.entity_keys))
  support = episodes.make_index(
      table, entities, cutoff, support_cap=support_cap
  )
  events = np.zeros(table.timestamps.size, np.uint64)
  for column in (table.timestamps, table.labels, table.weights):
    _mix(events, column)
  for name in sorted(table.event_features):
    _mix(events, table.event_features[name])
  # Sums wrap around; events hold their time, so their order is hashed, too.
  sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(events)])
  hashes = sums[support.support_stop] - sums[support.support_start]
  for name in sorted(table.entity_features):
    _mix(hashes, table.entity_features[name])
  _mix_texts(hashes, table.entity_keys)
  if members is not None:
    hashes = hashes[members]
  return f'{int(np.sum(hashes, dtype=np.uint64)):016x}'


def _mix(hashes: np.ndarray, column: np.ndarray) -> None:
  """Mixes a column, [n, ...], into hashes, [n] uint64, in place."""
  for cells in column.reshape(len(column), -1).T:
    bits = np.ascontiguousarray(cells)
    hashes ^= bits.view(f'u{bits.itemsize}').astype(np.uint64)
    hashes *= _FACTOR
    hashes ^= hashes >> _SHIFT


def _mix_texts(hashes: np.ndarray, texts: np.ndarray) -> None:
  """Mixes texts, [n] str, the same however long the longest one is."""
  letters = np.ascontiguousarray(texts).view(np.uint32)
  for column in letters.reshape(len(texts), -1).T:
    mixed = hashes.copy()
    _mix(mixed, column)
    np.copyto(hashes, mixed, where=column != 0)
