"""Directory: where snapshots lie on disk, and which one is current.

  ROOT/<entity_type>/CURRENT                             the published version
  ROOT/<entity_type>/LATEST                              the last one written
  ROOT/<entity_type>/snapshots/<version>/data.mdb        keys and records
  ROOT/<entity_type>/snapshots/<version>/manifest.json   what they are
  ROOT/<entity_type>/snapshots/<version>/PUBLISHED       mark: was current once

A version is a zero-padded ascending integer, e.g. '00000003'.
"""

from collections.abc import Iterator
import contextlib
import os
import pathlib
import re
import shutil
import time
from typing import TextIO

from limaml_jax import errors
from limaml_jax.store import durable
from limaml_jax.store import manifest as manifest_lib

MARK = 'PUBLISHED'
_LATEST = 'LATEST'
_PATIENCE_SECONDS = 60  # For another to move the pointer or delete.
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
  return sorted(filter(manifest_lib.VERSION_PATTERN.fullmatch, names), key=int)


def read_manifest(path: pathlib.Path) -> manifest_lib.Manifest:
  """Returns the manifest of the snapshot in folder `path`.

  Raises:
    InputError: if it is absent, invalid, or belongs elsewhere.
  """
  file = path / 'manifest.json'
  try:
    text = file.read_text(encoding='utf-8')
  except (OSError, UnicodeDecodeError) as error:
    raise errors.InputError(
        f'{file}: unreadable ({error}); roll back to another version, or write'
        ' the snapshot again'
    ) from error
  return manifest_lib.check_place(
      manifest_lib.from_json(text, str(file)),
      entity_type=path.parent.parent.name,
      version=path.name,
      place=str(file),
  )


@contextlib.contextmanager
def unfinished(
    root: str | os.PathLike[str], entity_type: str
) -> Iterator[pathlib.Path]:
  """Makes a folder that is gone in the end, unless `finish` was called.

  Args:
    root: of the store.
    entity_type: whose snapshot, e.g. 'user'.

  Raises:
    InputError: if another process writes a snapshot of this entity type, or
      the folder cannot be made.
  """
  parent = pointer_path(root, entity_type).parent
  snapshots = parent / 'snapshots'
  path = snapshots / '.unfinished'
  with contextlib.ExitStack() as stack:
    with durable.explained(parent):
      snapshots.mkdir(parents=True, exist_ok=True)
      busy = 'another process is writing a snapshot'
      stack.enter_context(durable.sole_writer(parent, busy))
      # A killed writer may have left one; holding the lock proves it is dead.
      shutil.rmtree(path, ignore_errors=True)
      path.mkdir()
      stack.callback(shutil.rmtree, path, ignore_errors=True)
    yield path


def next_version(root: str | os.PathLike[str], entity_type: str) -> str:
  """Returns the version after the last, even if that is deleted."""
  last = [int(version) for version in versions(root, entity_type)[-1:]]
  latest = pointer_path(root, entity_type).parent / _LATEST
  with contextlib.suppress(OSError, ValueError):  # Not there yet.
    last.append(int(latest.read_text()))
  return f'{max(last, default=0) + 1:08d}'


def finish(path: pathlib.Path, version: str) -> None:
  """Gives the unfinished folder its name, durably."""
  for inside in (*path.iterdir(), path):
    durable.sync(inside)
  snapshots = path.parent
  # First: a number may be left out, but never comes twice.
  durable.write_text(snapshots.parent / _LATEST, version + '\n')
  path.rename(snapshots / version)
  for folder in (snapshots, snapshots.parent, snapshots.parent.parent):
    durable.sync(folder)


@contextlib.contextmanager
def moving_pointer(
    root: str | os.PathLike[str], entity_type: str
) -> Iterator[None]:
  """Keeps others from moving the pointer or deleting, and waits for them."""
  parent = pointer_path(root, entity_type).parent
  give_up = time.monotonic() + _PATIENCE_SECONDS
  with durable.explained(parent), open(parent / '.pointer', 'a') as lock:
    while not durable.try_lock(lock):
      if time.monotonic() > give_up:
        raise errors.InputError(
            f'{parent}: another process holds the pointer; wait, or stop it'
        )
      time.sleep(0.01)
    yield


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
  if not manifest_lib.VERSION_PATTERN.fullmatch(version):
    file.close()
    raise errors.InputError(
        f'{path}: holds {version[:40]!r}, not a version; publish one again'
    )
  return file, version


def stamp(status: os.stat_result) -> tuple[int, int]:
  """Returns what tells one CURRENT from the next."""
  return status.st_ino, status.st_mtime_ns
