"""Database: the LMDB file of one snapshot, written once, read for ever after.

No LMDB lock is ever taken: a file has one writer before its folder gets its
name, and only readers afterwards.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from concurrent import futures
import contextlib
import hashlib
import itertools
import os
import pathlib
import shutil

import lmdb
import numpy as np

from limaml_jax import errors
from limaml_jax.store import checksum as checksum_lib

_FILE = 'data.mdb'
_SPARE_BYTES = 1 << 20
_ENTITIES_PER_PIECE = 2048  # Whose records stay in the processor's cache.
_ADVICE = 'roll back to another version, or write the snapshot again'


def file_path(path: pathlib.Path) -> pathlib.Path:
  """Returns the file of the snapshot in folder `path`."""
  return path / _FILE


def create(path: pathlib.Path, base: pathlib.Path | None) -> 'Database':
  """Creates the database of a snapshot in the making; see `Database`.

  Raises:
    InputError: if the disk refuses.
  """
  try:
    return Database(path, base)
  except lmdb.Error as error:
    raise _refused(path, error) from error


class Database:
  """The database of a snapshot in the making."""

  def __init__(self, path: pathlib.Path, base: pathlib.Path | None):
    """Creates it in an empty folder, or as a copy of that in folder `base`."""
    self._path = path
    self._may_replace = base is not None
    if base is not None:
      shutil.copyfile(file_path(base), file_path(path))
    self._last_key = b''
    self._database = lmdb.open(
        str(path),
        map_size=_SPARE_BYTES,
        lock=False,
        readahead=False,
        sync=False,
    )

  def close(self) -> None:
    """Closes it; may be called twice."""
    self._database.close()

  def put(self, keys: list[bytes], records: np.ndarray) -> None:
    """As `backend.Writer`."""
    if not keys:
      return
    append = not self._may_replace and keys[0] > self._last_key
    self._last_key = max(self._last_key, keys[-1])
    self._make_room(sum(map(len, keys)) + records.nbytes)
    size = records.itemsize
    rows = memoryview(records.tobytes())
    with self._transaction() as transaction:
      for i, key in enumerate(keys):
        value = rows[i * size : (i + 1) * size]
        if not transaction.put(
            key, value, overwrite=self._may_replace, append=append
        ):
          raise errors.InputError(
              f'entity {key.decode()!r}: comes twice; pass each entity once'
          )

  def remove(self, keys: Iterable[bytes]) -> None:
    """As `backend.Writer`."""
    self._make_room(0)
    with self._transaction() as transaction:
      for key in keys:
        transaction.delete(key)

  def finish(self) -> tuple[int, str, str]:
    """Waits for the disk; returns count, checksum, and that of the file."""
    try:
      self._database.sync(True)
    except lmdb.Error as error:
      raise _refused(self._path, error) from error
    count = self._database.stat()['entries']
    with futures.ThreadPoolExecutor(max_workers=1) as thread:
      of_file = thread.submit(file_checksum, file_path(self._path))
      checksum = checksum_lib.of_blocks(scan(self._database))
    self.close()
    return count, checksum, of_file.result()

  @contextlib.contextmanager
  def _transaction(self):
    try:
      with self._database.begin(write=True) as transaction:
        yield transaction
    except lmdb.Error as error:
      raise _refused(self._path, error) from error

  def _make_room(self, added: int) -> None:
    # Twice for half-filled pages, and twice again for what fits no page
    # evenly; a transaction also copies every page that it touches before it
    # frees one, and splits those that are full, as appended ones are.
    info = self._database.info()
    used = (info['last_pgno'] + 1) * self._database.stat()['psize']
    needed = 3 * used + 4 * added + _SPARE_BYTES
    if needed > info['map_size']:
      self._database.set_mapsize(2 * needed)  # Address space, not disk.


def open_read_only(
    path: pathlib.Path, count: int, *, advice: str = _ADVICE
) -> lmdb.Environment:
  """Opens the finished database in a folder.

  Args:
    path: of the folder.
    count: of its keys.
    advice: what to do if it is corrupt.

  Raises:
    InputError: if it is absent, torn or not a database.
  """
  try:
    num_bytes = os.stat(file_path(path)).st_size
    database = lmdb.open(
        str(path), readonly=True, lock=False, readahead=False, create=False
    )
  except (OSError, lmdb.Error) as error:
    raise corrupt(path, str(error), advice) from error
  statistics = database.stat()
  # LMDB maps a file that was cut short, and reading past its end is a SIGBUS.
  needed = (database.info()['last_pgno'] + 1) * statistics['psize']
  if num_bytes < needed:
    reason = f'{num_bytes} bytes of {needed}'
  elif statistics['entries'] != count:
    reason = f'{statistics["entries"]} keys, the manifest says {count}'
  else:
    return database
  database.close()
  raise corrupt(path, reason, advice)


def scan(database: lmdb.Environment) -> Iterator[checksum_lib.Block]:
  """Yields keys and records of all entities, in ascending order of the keys."""
  size = checksum_lib.ENTITIES_PER_BLOCK
  pieces = size // _ENTITIES_PER_PIECE
  with database.begin() as transaction:
    # Apart: a pair for each entity would keep the garbage collector busy.
    keys = transaction.cursor().iternext(values=False)
    records = transaction.cursor().iternext(keys=False)
    while block := list(itertools.islice(keys, size)):
      yield block, b''.join([
          b''.join(itertools.islice(records, _ENTITIES_PER_PIECE))
          for _ in range(pieces)
      ])


def first_keys(
    database: lmdb.Environment, prefix: bytes, limit: int
) -> list[bytes]:
  """Returns the first keys, ascending, that begin with `prefix`."""
  if len(prefix) > database.max_key_size():
    return []
  with database.begin() as transaction:
    cursor = transaction.cursor()
    # LMDB looks for no empty key.
    if not (cursor.set_range(prefix) if prefix else cursor.first()):
      return []
    ascending = itertools.takewhile(
        lambda key: key.startswith(prefix), cursor.iternext(values=False)
    )
    return list(itertools.islice(ascending, limit))


def file_checksum(path: pathlib.Path) -> str:
  """Returns the SHA-256 of a file."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def corrupt(
    path: pathlib.Path, reason: str, advice: str = _ADVICE
) -> errors.InputError:
  """Returns the error that the database in folder `path` is corrupt."""
  return errors.InputError(f'{file_path(path)}: corrupt ({reason}); {advice}')


def _refused(path: pathlib.Path, error: lmdb.Error) -> errors.InputError:
  # A write that the disk cuts short is an input/output error to LMDB.
  left = shutil.disk_usage(path).free
  return errors.InputError(
      f'{file_path(path)}: cannot be written ({error}; {left:,} bytes are'
      ' left); free some space, e.g. by `prune`; the published one is whole'
  )
