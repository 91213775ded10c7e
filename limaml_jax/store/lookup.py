"""Lookup: what the online path asks the store, many entities at a time."""

from collections.abc import Sequence
import enum
import os
import threading
import time
from typing import NamedTuple
from typing import TextIO

import numpy as np

from limaml_jax import errors
from limaml_jax.store import directory
from limaml_jax.store import environment


class Status(enum.IntEnum):
  """How an entity's vector came about; none of them is an error."""

  PRESENT = 0
  STALE = 1  # Older than the reader's limit; still the entity's own vector.
  MISSING = 2  # A cold-start entity: the default embedding.
  VERSION_MISMATCH = 3  # Made by another model: the default embedding.


class Lookup(NamedTuple):
  """Answer for n entities, all of it from one snapshot.

  Attributes:
    vectors: meta embeddings, float32 [n, E].
    statuses: `Status` of each, uint8 [n].
    ages: seconds since each one's watermark, int64 [n]; since the snapshot's
      cutoff for one that has seen no event; -1 where the default embedding
      stands in.
    version: of the snapshot.
  """

  vectors: np.ndarray
  statuses: np.ndarray
  ages: np.ndarray
  version: str


class Reader:
  """Reads the published snapshot of one entity type; threads may share it."""

  def __init__(
      self,
      root: str | os.PathLike[str],
      entity_type: str,
      *,
      fingerprint: str | None = None,
      max_age_seconds: int = 0,
  ):
    """Opens the published snapshot.

    Args:
      root: of the store.
      entity_type: whose embeddings, e.g. 'user'.
      fingerprint: of the model that will use them; None takes any.
      max_age_seconds: beyond which a vector is STALE; 0 never.

    Raises:
      InputError: if no snapshot is published, or it is corrupt.
    """
    self._fingerprint = fingerprint
    self._max_age_seconds = max_age_seconds
    self._path = directory.pointer_path(root, entity_type)
    self._lock = threading.Lock()
    self._closed = False
    self._pointer: TextIO | None = None
    self._stamp = (0, 0)
    self._snapshot: environment.OpenSnapshot | None = None
    environment.release(self._hold())

  def __enter__(self) -> 'Reader':
    return self

  def __exit__(self, *exception: object) -> None:
    self.close()

  def close(self) -> None:
    """Lets go of the snapshot."""
    with self._lock:
      self._closed = True
      self._let_go()

  def lookup(self, keys: Sequence[str], *, now: int | None = None) -> Lookup:
    """Looks n entities up in the snapshot that is published at this moment.

    Args:
      keys: of the entities; unknown and repeated ones are welcome.
      now: UTC seconds that ages count to; None asks the clock.

    Returns:
      Vectors, statuses and ages in the order of `keys`.

    Raises:
      InputError: if a snapshot published meanwhile is corrupt.
    """
    now = int(time.time()) if now is None else now
    snapshot = self._hold()
    try:
      manifest = snapshot.manifest
      if self._fingerprint not in (None, manifest.fingerprint):
        return _mismatch(snapshot, len(keys))
      present, records = snapshot.read(keys)
    finally:
      environment.release(snapshot)
    vectors = records['vector'].astype(np.float32)
    watermarks = records['watermark']
    seen_until = np.where(watermarks < 0, manifest.cutoff, watermarks)
    ages = np.maximum(now - seen_until, 0)  # Clocks of two machines differ.
    statuses = np.full(len(keys), Status.PRESENT, np.uint8)
    if self._max_age_seconds:
      statuses[ages > self._max_age_seconds] = Status.STALE
    missing = ~present
    vectors[missing] = snapshot.default
    statuses[missing] = Status.MISSING
    ages[missing] = -1
    return Lookup(vectors, statuses, ages, manifest.version)

  def _hold(self) -> environment.OpenSnapshot:
    """Returns the published snapshot; the caller releases it."""
    with self._lock:
      if self._closed:
        raise ValueError('This reader is closed.')
      if self._snapshot is None or not self._is_current():
        self._snapshot = self._reopen()
      environment.share(self._snapshot)
      return self._snapshot

  def _is_current(self) -> bool:
    try:
      return directory.stamp(os.stat(self._path)) == self._stamp
    except OSError:
      return False  # Opening it will say what is wrong.

  def _reopen(self) -> environment.OpenSnapshot:
    pointer, version = directory.open_pointer(self._path)
    try:
      snapshot = environment.acquire(self._path.parent / 'snapshots' / version)
    except errors.InputError:
      pointer.close()
      raise
    self._let_go()
    # Stays open: the next CURRENT might be given its inode otherwise, within
    # the same tick of the clock.
    self._pointer = pointer
    self._stamp = directory.stamp(os.fstat(pointer.fileno()))
    return snapshot

  def _let_go(self) -> None:
    if self._pointer is not None:
      self._pointer.close()
    if self._snapshot is not None:
      environment.release(self._snapshot)
    self._pointer = self._snapshot = None


def _mismatch(snapshot: environment.OpenSnapshot, num_keys: int) -> Lookup:
  return Lookup(
      vectors=np.tile(snapshot.default, (num_keys, 1)),
      statuses=np.full(num_keys, Status.VERSION_MISMATCH, np.uint8),
      ages=np.full(num_keys, -1, np.int64),
      version=snapshot.manifest.version,
  )
