"""Environment: snapshots that this process has open, each of them once.

LMDB refuses to open a file twice in one process, so readers share, and the
last one to let go closes.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import itertools
import os
import pathlib
import threading

import lmdb
import numpy as np

from limaml_jax.store import checksum as checksum_lib
from limaml_jax.store import manifest as manifest_lib
from limaml_jax.store import record as record_lib
from limaml_jax.store.lmdb_store import database as database_lib
from limaml_jax.store.lmdb_store import directory

# A watermark that no record has.
_ABSENT = np.iinfo(np.int64).min
_lock = threading.Lock()
# (device, inode) of data.mdb -> open snapshot. An inode cannot be used again
# while the file is open, which a path can.
_open: dict[tuple[int, int], 'OpenSnapshot'] = {}


@dataclasses.dataclass(eq=False)
class OpenSnapshot:
  """A snapshot that somebody in this process reads.

  Attributes:
    path: of its folder.
    manifest: of the snapshot.
    database: of its records.
    layout: of a record.
    default: the default embedding, float32 [E].
    identity: of its file.
    num_holders: who have acquired but not released it.
    absent: what stands for the record of a key that has none.
  """

  path: pathlib.Path
  manifest: manifest_lib.Manifest
  database: lmdb.Environment
  layout: np.dtype
  default: np.ndarray
  identity: tuple[int, int]
  num_holders: int = 1
  absent: bytes = dataclasses.field(init=False)

  def __post_init__(self):
    blank = np.zeros((), self.layout)
    blank['watermark'] = _ABSENT
    self.absent = blank.tobytes()

  def scan(self) -> Iterator[checksum_lib.Block]:
    """As `backend.Snapshot`."""
    return database_lib.scan(self.database)

  def keys(self, prefix: str, limit: int) -> list[str]:
    """As `backend.Follower`.

    Raises:
      InputError: if the file turns out to be corrupt.
    """
    start = prefix.encode('utf-8', 'surrogatepass')
    try:
      found = database_lib.first_keys(self.database, start, limit)
      return [key.decode() for key in found]
    except (lmdb.Error, UnicodeDecodeError) as error:
      raise database_lib.corrupt(self.path, str(error)) from error

  def _join(self, keys: Iterable[bytes]) -> bytes:
    """Returns the records of some keys; no bytecode runs per key."""
    try:
      with self.database.begin() as transaction:
        return b''.join(
            map(transaction.get, keys, itertools.repeat(self.absent))
        )
    except lmdb.BadValsizeError:
      raise
    except lmdb.Error as error:
      raise database_lib.corrupt(self.path, str(error)) from error

  def read(self, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns who is present, [n] bool, and records, [n].

    Raises:
      InputError: if the file turns out to be corrupt.
    """
    try:
      joined = self._join(map(str.encode, keys))
    except (UnicodeEncodeError, lmdb.BadValsizeError):
      # Seldom: among them is a key that no snapshot can hold.
      joined = self._join(record_lib.encode_keys(keys))
    if len(joined) != len(keys) * self.layout.itemsize:
      raise database_lib.corrupt(self.path, 'a record has the wrong size')
    records = np.frombuffer(joined, self.layout)
    return records['watermark'] != _ABSENT, records


def acquire(path: pathlib.Path) -> OpenSnapshot:
  """Opens a snapshot, or shares it if this process has it open.

  Args:
    path: of the snapshot's folder.

  Returns:
    The open snapshot; `release` it.

  Raises:
    InputError: if its manifest or data is absent, torn or corrupt.
  """
  try:
    status = os.stat(database_lib.file_path(path))
  except OSError as error:
    raise database_lib.corrupt(path, str(error)) from error
  identity = (status.st_dev, status.st_ino)
  with _lock:
    opened = _open.get(identity)
    if opened is not None:
      opened.num_holders += 1
      return opened
    manifest = directory.read_manifest(path)
    opened = OpenSnapshot(
        path=path,
        manifest=manifest,
        database=database_lib.open_read_only(path, manifest.count),
        layout=record_lib.layout(manifest.dimension, manifest.dtype),
        default=np.array(manifest.default_embedding, np.float32),
        identity=identity,
    )
    _open[identity] = opened
    return opened


def share(opened: OpenSnapshot) -> None:
  """Adds a holder to a snapshot that the caller knows to be held."""
  with _lock:
    opened.num_holders += 1


def release(opened: OpenSnapshot) -> None:
  """Lets go of a snapshot; the last holder closes it."""
  with _lock:
    opened.num_holders -= 1
    if not opened.num_holders:
      del _open[opened.identity]
      opened.database.close()
