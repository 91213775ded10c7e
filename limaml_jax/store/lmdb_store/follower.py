"""Follower: reads whichever snapshot CURRENT names, call by call."""

from collections.abc import Sequence
import os
import pathlib
import threading
from typing import TextIO

from limaml_jax import errors
from limaml_jax.store import backend as backend_lib
from limaml_jax.store.lmdb_store import directory
from limaml_jax.store.lmdb_store import environment

_ATTEMPTS = 10  # At opening what is deleted while it is opened.


class LmdbFollower:
  """See `backend.Follower`."""

  def __init__(self, path: pathlib.Path):
    """Opens the published snapshot.

    Args:
      path: of CURRENT.

    Raises:
      InputError: if no snapshot is published, or it is corrupt.
    """
    self._path = path
    self._text = os.fspath(path)  # Which a lookup asks for sooner.
    self._lock = threading.Lock()
    self._closed = False
    self._pointer: TextIO | None = None
    self._stamp = (0, 0)
    self._snapshot: environment.OpenSnapshot | None = None
    environment.release(self._hold())

  def read(self, keys: Sequence[str]) -> backend_lib.Found:
    """As `backend.Follower`."""
    snapshot = self._hold()
    try:
      present, records = snapshot.read(keys)
    finally:
      environment.release(snapshot)
    return backend_lib.Found(
        snapshot.manifest, snapshot.default, present, records
    )

  def keys(self, prefix: str, limit: int) -> list[str]:
    """As `backend.Follower`."""
    snapshot = self._hold()
    try:
      return snapshot.keys(prefix, limit)
    finally:
      environment.release(snapshot)

  def close(self) -> None:
    """As `backend.Follower`."""
    with self._lock:
      self._closed = True
      self._let_go()

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
      return directory.stamp(os.stat(self._text)) == self._stamp
    except OSError:
      return False  # Opening it will say what is wrong.

  def _reopen(self) -> environment.OpenSnapshot:
    pointer, snapshot = self._open()
    self._let_go()
    # Stays open: the next CURRENT might be given its inode otherwise, within
    # the same tick of the clock.
    self._pointer = pointer
    self._stamp = directory.stamp(os.fstat(pointer.fileno()))
    return snapshot

  def _open(self) -> tuple[TextIO, environment.OpenSnapshot]:
    """Opens CURRENT and what it names, though it may be deleted meanwhile."""
    for _ in range(_ATTEMPTS):
      pointer, version = directory.open_pointer(self._path)
      try:
        path = self._path.parent / 'snapshots' / version
        return pointer, environment.acquire(path)
      except errors.InputError:
        stamp = directory.stamp(os.fstat(pointer.fileno()))
        pointer.close()
        if directory.stamp(os.stat(self._path)) == stamp:
          raise
    raise errors.InputError(
        f'{self._path}: names another snapshot before one is open; publish'
        ' less often'
    )

  def _let_go(self) -> None:
    if self._pointer is not None:
      self._pointer.close()
    if self._snapshot is not None:
      environment.release(self._snapshot)
    self._pointer = self._snapshot = None
