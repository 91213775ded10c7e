"""Key table: one record for each key, on disk, in LMDB.

What is known of an item by its key, of an entity by its key, and the row of a
token in a vocabulary are all looked up so: nothing is loaded at the start, and
processes share the pages.
"""

from collections.abc import Sequence
import hashlib
import itertools
import os
import pathlib
import weakref

import lmdb
import numpy as np

from limaml_jax.store.lmdb_store import database

_MAX_KEY_BYTES = 511  # LMDB's limit.
_ROWS_PER_SLICE = 65536
_DIGEST = b'\xff'  # Begins the digest of a key; no UTF-8 begins so.
# (device, inode) of data.mdb -> open table: LMDB opens none twice.
_open: 'weakref.WeakValueDictionary[tuple[int, int], KeyTable]' = (
    weakref.WeakValueDictionary()
)


def write(
    path: pathlib.Path, keys: Sequence[str], records: np.ndarray
) -> None:
  """Writes a table into a folder that does not exist yet.

  Args:
    path: of the folder.
    keys: [n], each once.
    records: [n], of any structured type.
  """
  path.mkdir(parents=True)
  encoded = [encode(key) for key in keys]
  order = sorted(range(len(encoded)), key=encoded.__getitem__)
  made = database.create(path, None)
  try:
    for start in range(0, len(order), _ROWS_PER_SLICE):
      rows = order[start : start + _ROWS_PER_SLICE]
      made.put([encoded[i] for i in rows], records[rows])
    made.finish()
  finally:
    made.close()


class KeyTable:
  """A table that was written, open for reading; threads may share it."""

  def __init__(
      self, opened: lmdb.Environment, record: np.dtype, default: np.ndarray
  ):
    """Takes an open environment; see `open_table`."""
    self._opened = opened
    self._record = record
    self._default = default.tobytes()

  def get(self, keys: Sequence[str]) -> tuple[np.ndarray, int]:
    """Returns the record of each key, [n], and how many keys are unknown."""
    with self._opened.begin() as transaction:
      # No bytecode runs per key.
      default = itertools.repeat(self._default)
      found = list(map(transaction.get, map(encode, keys), default))
    unknown = sum(record is self._default for record in found)
    joined = b''.join(found)  # pyrefly: ignore  # All of them bytes.
    return np.frombuffer(joined, self._record), unknown

  def keys(self, prefix: str = '', *, limit: int) -> list[str]:
    """Returns the first keys that begin so, ascending by their UTF-8.

    One so long that the table has only its digest is left out.

    Args:
      prefix: of the keys.
      limit: how many, at most.
    """
    start = prefix.encode('utf-8', 'surrogatepass')
    found = database.first_keys(self._opened, start, limit)
    return [_decode(key) for key in found if not _is_digest(key)]

  def sample(self, num_keys: int, *, seed: int) -> list[str]:
    """Returns keys chosen at random, ascending; all, if they are no more.

    Passes over the whole table, some ten million keys in a second. Those that
    `keys` leaves out are left out.

    Args:
      num_keys: how many.
      seed: of the choice.
    """
    count = self._opened.stat()['entries']
    rows = np.arange(count)
    if count > num_keys:
      rng = np.random.default_rng(seed)
      rows = np.sort(rng.choice(count, num_keys, replace=False))
    gaps = np.diff(rows, prepend=-1) - 1  # Keys passed over before each.
    with self._opened.begin() as transaction:
      passing = transaction.cursor().iternext(values=False)
      found = [
          next(itertools.islice(passing, gap, None)) for gap in gaps.tolist()
      ]
    return [_decode(key) for key in found if not _is_digest(key)]


def open_table(
    path: pathlib.Path, count: int, record: np.dtype, default: np.ndarray
) -> KeyTable:
  """Opens a table.

  Args:
    path: of its folder.
    count: of its keys.
    record: type of its records.
    default: record of an unknown key, [].

  Raises:
    InputError: if it is absent, torn or not a table.
  """
  try:
    status = os.stat(database.file_path(path))
  except OSError as error:
    raise database.corrupt(path, str(error)) from error
  identity = (status.st_dev, status.st_ino)
  table = _open.get(identity)
  if table is None:
    opened = database.open_read_only(path, count)
    table = _open[identity] = KeyTable(opened, record, default)
  return table


def encode(key: str) -> bytes:
  """Returns a key as the table has it: a longer one by its digest."""
  encoded = key.encode('utf-8', 'surrogatepass')
  if 0 < len(encoded) <= _MAX_KEY_BYTES:
    return encoded
  return _DIGEST + hashlib.sha256(encoded).digest()


def _is_digest(encoded: bytes) -> bool:
  return encoded.startswith(_DIGEST)


def _decode(encoded: bytes) -> str:
  return encoded.decode('utf-8', 'surrogatepass')
