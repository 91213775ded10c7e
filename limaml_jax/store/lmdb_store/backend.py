"""LMDB as a back end; see `backend.Backend`."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import os
import pathlib

import numpy as np

from limaml_jax import errors
from limaml_jax.store import backend as backend_lib
from limaml_jax.store import durable
from limaml_jax.store import manifest as manifest_lib
from limaml_jax.store.lmdb_store import database as database_lib
from limaml_jax.store.lmdb_store import directory
from limaml_jax.store.lmdb_store import environment
from limaml_jax.store.lmdb_store import follower


class LmdbBackend:
  """Snapshots under a directory, on a disk of this machine."""

  def __init__(self, root: str | os.PathLike[str]):
    """Takes the directory, which need not exist yet."""
    self._root = pathlib.Path(root)
    self.address = str(root)

  def versions(self, entity_type: str) -> list[str]:
    """As `backend.Backend`."""
    return directory.versions(self._root, entity_type)

  def published(self, entity_type: str) -> list[str]:
    """As `backend.Backend`."""
    # The pointer moves before the mark is made, and whoever moves it may die.
    current = self._current_or_none(entity_type)
    return [
        version
        for version in self.versions(entity_type)
        if version == current or self._mark(entity_type, version).exists()
    ]

  def current(self, entity_type: str) -> str:
    """As `backend.Backend`."""
    path = directory.pointer_path(self._root, entity_type)
    file, version = directory.open_pointer(path)
    file.close()
    return version

  def manifest(
      self, entity_type: str, version: str
  ) -> manifest_lib.Manifest:
    """As `backend.Backend`."""
    return directory.read_manifest(self._folder(entity_type, version))

  @contextlib.contextmanager
  def new_snapshot(
      self, entity_type: str, base: str | None = None
  ) -> Iterator['_Writer']:
    """As `backend.Backend`."""
    with directory.unfinished(self._root, entity_type) as path:
      copied = self._folder(entity_type, base) if base else None
      with durable.explained(path):
        database = database_lib.create(path, copied)
      try:
        version = directory.next_version(self._root, entity_type)
        yield _Writer(path, database, version)
      finally:
        database.close()

  @contextlib.contextmanager
  def open_snapshot(
      self, entity_type: str, version: str
  ) -> Iterator[environment.OpenSnapshot]:
    """As `backend.Backend`."""
    path = self._folder(entity_type, version)
    manifest = directory.read_manifest(path)
    # Before LMDB walks the pages: a blanked one makes it abort the process.
    try:
      found = database_lib.file_checksum(database_lib.file_path(path))
    except OSError as error:
      raise database_lib.corrupt(path, str(error)) from error
    if found != manifest.data_checksum:
      reason = "its data_checksum is not the manifest's"
      raise database_lib.corrupt(path, reason)
    opened = environment.acquire(path)
    try:
      yield opened
    finally:
      environment.release(opened)

  def publish(
      self,
      entity_type: str,
      version: str,
      *,
      expected: str | None = None,
      leave: str | None = None,
  ) -> None:
    """As `backend.Backend`."""
    pointer = directory.pointer_path(self._root, entity_type)
    expected = leave if expected is None else expected
    with directory.moving_pointer(self._root, entity_type):
      mark = self._mark(entity_type, version)
      current = self._current_or_none(entity_type) or ''
      if expected not in (None, current):
        raise errors.InputError(
            f'{pointer}: no longer names {expected or "nothing"}; look at'
            ' `list` and try again'
        )
      # In this order, whoever dies in between can be run again.
      if leave is not None:
        self._mark(entity_type, leave).unlink(missing_ok=True)
      durable.swap_pointer(pointer, version)
      durable.write_text(mark, '')
      durable.sync(mark.parent)

  def delete(self, entity_type: str, version: str) -> None:
    """As `backend.Backend`."""
    with directory.moving_pointer(self._root, entity_type):
      path = self._folder(entity_type, version)
      if version == self._current_or_none(entity_type):
        raise errors.InputError(
            f'{path}: is the published snapshot; publish another first'
        )
      durable.delete(path)

  def follow(self, entity_type: str) -> follower.LmdbFollower:
    """As `backend.Backend`."""
    return follower.LmdbFollower(
        directory.pointer_path(self._root, entity_type)
    )

  def _folder(self, entity_type, version):
    return directory.snapshot_directory(self._root, entity_type, version)

  def _mark(self, entity_type, version):
    return self._folder(entity_type, version) / directory.MARK

  def _current_or_none(self, entity_type):
    if directory.pointer_path(self._root, entity_type).exists():
      return self.current(entity_type)
    return None


class _Writer:
  """See `backend.Writer`."""

  def __init__(
      self,
      path: pathlib.Path,
      database: database_lib.Database,
      version: str,
  ):
    self._path = path
    self._database = database
    self._version = version

  def put(self, keys: list[bytes], records: np.ndarray) -> None:
    self._database.put(keys, records)

  def remove(self, keys: Iterable[bytes]) -> None:
    self._database.remove(keys)

  def finish(
      self,
      describe: Callable[[backend_lib.Written], manifest_lib.Manifest],
  ) -> manifest_lib.Manifest:
    with durable.explained(self._path):
      manifest = describe(
          backend_lib.Written(self._version, *self._database.finish())
      )
      durable.write_text(
          self._path / 'manifest.json', manifest_lib.to_json(manifest)
      )
      directory.finish(self._path, self._version)
    return manifest
