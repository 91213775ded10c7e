"""Key table: one record for each key, on disk, in LMDB.

What is known of an item by its key, of an entity by its key, and the row of a
token in a vocabulary are all looked up so. A large table stays on disk, its
pages shared by all processes; a small one is read into memory, where it answers
several times sooner.
"""

from collections.abc import Callable
from collections.abc import Sequence
import contextlib
import hashlib
import itertools
import os
import pathlib
from typing import Any
import weakref

import lmdb
import numpy as np

from limaml_jax import errors
from limaml_jax.store.lmdb_store import database

_MAX_KEY_BYTES = 511  # LMDB's limit.
_ROWS_PER_SLICE = 65536
_MAX_IN_MEMORY = 200_000  # Keys; some 200 bytes each.
_ADVICE = 'export again'
_DIGEST = b'\xff'  # Begins the digest of a key; no UTF-8 begins so.
# (device, inode) of data.mdb -> open table: LMDB opens none twice. And what it
# holds -> open table: versions of a bundle may have the same one.
_open: 'weakref.WeakValueDictionary[tuple[Any, ...], KeyTable]' = (
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

  Raises:
    InputError: if a key comes twice, or the disk refuses.
  """
  path.mkdir(parents=True)
  encoded = [encode(key) for key in keys]
  order = sorted(range(len(encoded)), key=encoded.__getitem__)
  for i, j in itertools.pairwise(order):
    if encoded[i] == encoded[j]:
      raise errors.InputError(
          f'{path}: key {keys[i]!r:.80}: comes twice; pass each key once'
      )
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
    self._memory: dict[bytes, bytes] = {}
    if opened.stat()['entries'] <= _MAX_IN_MEMORY:
      with opened.begin() as transaction:
        self._memory = dict(transaction.cursor())

  def get(self, keys: Sequence[str]) -> tuple[np.ndarray, int]:
    """Returns the record of each key, [n], and how many keys are unknown."""
    if self._memory:
      found = self._find(self._memory.get, keys)
    else:
      with self._opened.begin() as transaction:
        found = self._find(transaction.get, keys)
    unknown = sum(record is self._default for record in found)
    return np.frombuffer(b''.join(found), self._record), unknown

  def _find(self, get: Callable[..., Any], keys: Sequence[str]) -> list[bytes]:
    default = itertools.repeat(self._default)
    lengths = list(map(len, keys))
    if keys and 0 < min(lengths) <= max(lengths) <= _MAX_KEY_BYTES // 4:
      with contextlib.suppress(UnicodeEncodeError):
        # No bytecode runs per key; of a letter UTF-8 makes four at most.
        return list(map(get, map(str.encode, keys), default))
    return list(map(get, map(encode, keys), default))

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

    Passes over the whole table. Those that `keys` leaves out are left out.

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
    path: pathlib.Path,
    count: int,
    record: np.dtype,
    default: np.ndarray,
    *,
    checksum: str = '',
) -> KeyTable:
  """Opens a table, or returns an open one that holds the same.

  Args:
    path: of its folder.
    count: of its keys.
    record: type of its records.
    default: record of an unknown key, [].
    checksum: of its file, which was found right; '' if it is not known.

  Raises:
    InputError: if it is absent, torn or not a table.
  """
  try:
    status = os.stat(database.file_path(path))
  except OSError as error:
    raise database.corrupt(path, str(error), _ADVICE) from error
  identity: tuple[Any, ...] = (status.st_dev, status.st_ino)
  content = identity
  if checksum:
    content = (checksum, count, str(record), default.tobytes())
  table = _open.get(content) or _open.get(identity)
  if table is None:
    opened = database.open_read_only(path, count, advice=_ADVICE)
    table = _open[identity] = KeyTable(opened, record, default)
    _open[content] = table
  return table


def file_name(name: str) -> str:
  """Returns the path of the file of a table, given that of its folder."""
  return str(database.file_path(pathlib.Path(name)))


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
