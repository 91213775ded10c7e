"""Directory: where snapshots lie on disk, and which one is current.

  ROOT/<entity_type>/CURRENT                             the published version
  ROOT/<entity_type>/snapshots/<version>/data.mdb        keys and records
  ROOT/<entity_type>/snapshots/<version>/manifest.json   what they are
  ROOT/<entity_type>/snapshots/<version>/PUBLISHED       mark: was current once

A version is a zero-padded ascending integer, e.g. '00000003'.
"""

from collections.abc import Iterator
import contextlib
import fcntl
import os
import pathlib
import re
import shutil
import threading
from typing import TextIO

from limaml_jax import errors

MARK = 'PUBLISHED'
VERSION_PATTERN = re.compile(r'[0-9]{8,}')
_ENTITY_TYPE_PATTERN = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.-]*')


def pointer_path(
    root: str | os.PathLike[str], entity_type: str
) -> pathlib.Path:
  """Returns ROOT/<entity_type>/CURRENT, which may not exist.

  Raises:
    InputError: if the entity type cannot name a folder.
  """
  if not _ENTITY_TYPE_PATTERN.fullmatch(entity_type):
    raise errors.InputError(
        f'entity type {entity_type!r}: use letters, digits, "_", "-" and "."'
    )
  return pathlib.Path(root) / entity_type / 'CURRENT'


def snapshot_directory(
    root: str | os.PathLike[str], entity_type: str, version: str
) -> pathlib.Path:
  """Returns the folder of a finished snapshot.

  Raises:
    InputError: if there is no such snapshot.
  """
  path = pointer_path(root, entity_type).parent / 'snapshots' / version
  if version not in versions(root, entity_type):
    raise errors.InputError(
        f'{path.parent}: no version {version!r}; choose one that lies there'
    )
  return path


def versions(root: str | os.PathLike[str], entity_type: str) -> list[str]:
  """Returns all finished versions, published or not, in ascending order."""
  snapshots = pointer_path(root, entity_type).parent / 'snapshots'
  if not snapshots.is_dir():
    return []
  names = os.listdir(snapshots)
  return sorted(filter(VERSION_PATTERN.fullmatch, names), key=int)


@contextlib.contextmanager
def new_snapshot(
    root: str | os.PathLike[str], entity_type: str
) -> Iterator[tuple[pathlib.Path, str]]:
  """Makes a folder that becomes the next version if the body succeeds.

  Args:
    root: of the store.
    entity_type: whose snapshot, e.g. 'user'.

  Yields:
    The folder to fill, and the version it will be.

  Raises:
    InputError: if another process writes a snapshot of this entity type.
  """
  parent = pointer_path(root, entity_type).parent
  snapshots = parent / 'snapshots'
  snapshots.mkdir(parents=True, exist_ok=True)
  with _sole_writer(parent):
    unfinished = snapshots / '.unfinished'
    # A killed writer may have left one; holding the lock proves it is dead.
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
      existing = versions(root, entity_type)
      version = f'{int(existing[-1]) + 1 if existing else 1:08d}'
      yield unfinished, version
      for path in (*unfinished.iterdir(), unfinished):
        sync(path)
      unfinished.rename(snapshots / version)
    finally:
      shutil.rmtree(unfinished, ignore_errors=True)
    for path in (snapshots, parent, parent.parent):
      sync(path)


def open_pointer(path: pathlib.Path) -> tuple[TextIO, str]:
  """Returns CURRENT, open, and the version it names.

  Raises:
    InputError: if it is absent or torn.
  """
  try:
    file = open(path, encoding='utf-8', errors='replace')
  except OSError as error:
    raise errors.InputError(
        f'{path}: no snapshot is published ({error.strerror}); run '
        '`python -m experiments.refresh`, which writes and publishes one'
    ) from error
  version = file.read().strip()
  if not VERSION_PATTERN.fullmatch(version):
    file.close()
    raise errors.InputError(
        f'{path}: holds {version[:40]!r}, not a version; publish one again'
    )
  return file, version


def stamp(status: os.stat_result) -> tuple[int, int]:
  """Returns what tells one CURRENT from the next."""
  return status.st_ino, status.st_mtime_ns


def swap_pointer(path: pathlib.Path, version: str) -> None:
  """Makes CURRENT name another version, atomically and durably."""
  # Not tempfile, whose files only the user who publishes could read.
  temporary = path.with_name(
      f'.{path.name}.{os.getpid()}.{threading.get_ident()}'
  )
  try:
    write_text(temporary, version + '\n')
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)
  sync(path.parent)


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes a small file and waits until the disk has it."""
  path.write_text(text, encoding='utf-8')
  sync(path)


def sync(path: pathlib.Path) -> None:
  """Waits until the disk has a file, or a folder's list of names."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


@contextlib.contextmanager
def _sole_writer(parent: pathlib.Path) -> Iterator[None]:
  with open(parent / '.writer', 'a', encoding='utf-8') as lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise errors.InputError(
          f'{parent}: another process is writing a snapshot; wait for it'
      ) from error
    yield
