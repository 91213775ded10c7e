"""Database: the LMDB file of one snapshot, written once, read for ever after.

No LMDB lock is ever taken: a file has one writer before its folder gets its
name, and only readers afterwards.
"""

from collections.abc import Iterable
import hashlib
import itertools
import os
import pathlib

import lmdb
import numpy as np

from limaml_jax import errors
from limaml_jax.store import record as record_lib

_FILE = 'data.mdb'
_SPARE_BYTES = 1 << 20
_RECORDS_PER_UPDATE = 4096


def file_path(path: pathlib.Path) -> pathlib.Path:
  """Returns the file of the snapshot in folder `path`."""
  return path / _FILE


def write(
    path: pathlib.Path,
    chunks: Iterable[record_lib.Chunk],
    *,
    layout: np.dtype,
    cutoff: int,
) -> tuple[int, int, str]:
  """Writes the records of all chunks and waits until the disk has them.

  Args:
    path: of an empty folder.
    chunks: entities in any order.
    layout: of a record.
    cutoff: the embeddings have seen no event after it, UTC seconds.

  Returns:
    Number of entities, their largest watermark (or -1), and checksum.

  Raises:
    InputError: if a chunk is wrong or an entity comes twice.
  """
  watermark = -1
  last_key = b''
  with lmdb.open(
      str(path), map_size=_SPARE_BYTES, lock=False, readahead=False, sync=False
  ) as database:
    for chunk in chunks:
      for keys, records in record_lib.pack(chunk, layout=layout, cutoff=cutoff):
        _put(database, keys, records, append=keys[0] > last_key)
        last_key = max(last_key, keys[-1])
        watermark = max(watermark, int(records['watermark'].max()))
    database.sync(True)
    return database.stat()['entries'], watermark, checksum(database)


def open_read_only(path: pathlib.Path, count: int) -> lmdb.Environment:
  """Opens the database of a finished snapshot of `count` entities.

  Raises:
    InputError: if it is absent, torn or not a database.
  """
  try:
    num_bytes = os.stat(file_path(path)).st_size
    database = lmdb.open(
        str(path), readonly=True, lock=False, readahead=False, create=False
    )
  except (OSError, lmdb.Error) as error:
    raise corrupt(path, str(error)) from error
  statistics = database.stat()
  # LMDB maps a file that was cut short, and reading past its end is a SIGBUS.
  needed = (database.info()['last_pgno'] + 1) * statistics['psize']
  if num_bytes < needed:
    reason = f'{num_bytes} bytes of {needed}'
  elif statistics['entries'] != count:
    reason = f'{statistics["entries"]} entities, the manifest says {count}'
  else:
    return database
  database.close()
  raise corrupt(path, reason)


def checksum(database: lmdb.Environment) -> str:
  """Returns the SHA-256 of all keys and records in order of the keys.

  Every key is preceded by its length (2 bytes, little-endian), so that the
  same bytes cannot be cut into other keys.
  """
  digest = hashlib.sha256()
  with database.begin(buffers=True) as transaction:
    items = transaction.cursor().iternext()
    while batch := list(itertools.islice(items, _RECORDS_PER_UPDATE)):
      parts = [
          part
          for key, value in batch
          for part in (len(key).to_bytes(2, 'little'), key, value)
      ]
      digest.update(b''.join(parts))
  return digest.hexdigest()


def corrupt(path: pathlib.Path, reason: str) -> errors.InputError:
  """Returns the error that the snapshot in folder `path` is corrupt."""
  return errors.InputError(
      f'{file_path(path)}: corrupt ({reason}); roll back to another version, '
      'or write the snapshot again'
  )


def _put(
    database: lmdb.Environment,
    keys: list[bytes],
    records: np.ndarray,
    *,
    append: bool,
) -> None:
  size = records.itemsize
  # Twice for half-filled pages, and twice again for what fits no page evenly;
  # a transaction also copies every page that it touches before it frees one.
  used = (database.info()['last_pgno'] + 1) * database.stat()['psize']
  added = sum(map(len, keys)) + len(keys) * size
  needed = 2 * used + 4 * added + _SPARE_BYTES
  if needed > database.info()['map_size']:
    database.set_mapsize(2 * needed)  # Address space, not disk.
  rows = memoryview(records.tobytes())
  with database.begin(write=True) as transaction:
    for i, key in enumerate(keys):
      value = rows[i * size : (i + 1) * size]
      if not transaction.put(key, value, overwrite=False, append=append):
        raise errors.InputError(
            f'entity {key.decode()!r}: comes twice; pass each entity once'
        )
