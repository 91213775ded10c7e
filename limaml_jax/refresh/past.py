"""Past: whether what a snapshot was made of is still what it was.

A log is corrected, an event comes late, an attribute of a user changes: then an
embedding that is carried over is not what would be made today.
"""

from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np

from limaml_jax.data import dataset
from limaml_jax.data import episodes

_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio.
_SHIFT = np.uint64(32)
_ROWS_PER_BLOCK = 32768  # Stay in the processor's cache, column after column.


class Past:
  """Hashes of all events and entities, for the digests of several cutoffs."""

  def __init__(self, table: dataset.TaskTable, *, support_cap: int):
    """Hashes each event and each entity once.

    Args:
      table: all tasks.
      support_cap: most events of an entity, the latest ones.
    """
    self._table = table
    self._support_cap = support_cap
    # Sums wrap around; events hold their time, so their order is hashed, too.
    self._sums = np.zeros(table.timestamps.size + 1, np.uint64)
    events = self._sums[1:]
    _mix(events, (table.timestamps, table.targets, table.weights))
    _mix(events, _sorted(table.event_features))
    np.cumsum(events, out=events)
    self._entities = np.zeros(len(table.entity_keys), np.uint64)
    _mix(self._entities, _sorted(table.entity_features))
    _mix_texts(self._entities, table.entity_keys)

  def digest(self, cutoff: int, members: np.ndarray | None = None) -> str:
    """Hashes what the embeddings of a cutoff are made of, in whatever order.

    Args:
      cutoff: UTC seconds.
      members: entities that count, [entities] bool; all when left out.

    Returns:
      16 hexadecimal digits.
    """
    support = episodes.make_index(
        self._table,
        np.arange(self._entities.size),
        cutoff,
        support_cap=self._support_cap,
    )
    hashes = self._sums[support.support_stop]
    hashes -= self._sums[support.support_start]
    _mix(hashes, (self._entities,))
    if members is not None:
      hashes = hashes[members]
    return f'{int(np.sum(hashes, dtype=np.uint64)):016x}'


def _sorted(columns: dict[str, np.ndarray]) -> list[np.ndarray]:
  return [columns[name] for name in sorted(columns)]


def _mix(hashes: np.ndarray, columns: Sequence[np.ndarray]) -> None:
  """Mixes columns, [n, ...] each, into hashes, [n] uint64, in place."""
  for rows in _blocks(hashes.size):
    for column in columns:
      part = column[rows]
      for cells in part.reshape(len(part), -1).T:
        _mix_cells(hashes[rows], cells)


def _mix_texts(hashes: np.ndarray, texts: np.ndarray) -> None:
  """Mixes texts, [n] str, the same however long the longest one is."""
  letters = np.ascontiguousarray(texts).view(np.uint32)
  letters = letters.reshape(len(texts), -1)
  for rows in _blocks(hashes.size):
    for cells in letters[rows].T:
      mixed = hashes[rows].copy()
      _mix_cells(mixed, cells)
      np.copyto(hashes[rows], mixed, where=cells != 0)


def _mix_cells(hashes: np.ndarray, cells: np.ndarray) -> None:
  bits = np.ascontiguousarray(cells)
  hashes ^= bits.view(f'u{bits.itemsize}')
  hashes *= _FACTOR
  hashes ^= hashes >> _SHIFT


def _blocks(size: int) -> Iterator[slice]:
  for start in range(0, size, _ROWS_PER_BLOCK):
    yield slice(start, start + _ROWS_PER_BLOCK)
