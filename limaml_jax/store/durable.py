"""Durable: files and folders that are whole or not there, whoever is killed.

Snapshots and bundles are written, pointed at and deleted by these.
"""

from collections.abc import Iterator
import contextlib
import errno
import fcntl
import os
import pathlib
import shutil
import threading
from typing import TextIO

from limaml_jax import errors


def swap_pointer(path: pathlib.Path, version: str) -> None:
  """Makes a pointer, such as CURRENT, name another version, all at once."""
  # Not tempfile, whose files only the user who writes could read.
  temporary = path.with_name(
      f'.{path.name}.{os.getpid()}.{threading.get_ident()}'
  )
  try:
    write_text(temporary, version + '\n')
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)
  sync(path.parent)


def delete(path: pathlib.Path) -> None:
  """Deletes a folder all at once; who has a file of it open keeps it."""
  # Away all at once, then piece by piece; its new name is none
  # that anybody looks for.
  doomed = path.with_name(f'.deleted.{path.name}')
  shutil.rmtree(doomed, ignore_errors=True)
  path.rename(doomed)
  sync(path.parent)
  for left in path.parent.glob('.deleted.*'):  # Of those who were killed, too.
    shutil.rmtree(left)


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
def explained(path: pathlib.Path) -> Iterator[None]:
  """Turns what a disk or a file system refuses into one line."""
  try:
    yield
  except OSError as error:
    advice = 'make it writable to this user'
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
      advice = 'free some space, e.g. by `prune`; the published one is whole'
    raise errors.InputError(f'{path}: {error.strerror}; {advice}') from error


@contextlib.contextmanager
def sole_writer(folder: pathlib.Path, busy: str) -> Iterator[None]:
  """Keeps other processes from writing into a folder; does not wait.

  Args:
    folder: that is written into.
    busy: what another process is at, for the message.

  Raises:
    InputError: if another one is at work.
  """
  with open(folder / '.writer', 'a', encoding='utf-8') as lock:
    if not try_lock(lock):
      raise errors.InputError(f'{folder}: {busy}; wait for it')
    yield


def try_lock(file: TextIO) -> bool:
  """Locks an open file, unless another process has; returns whether it did."""
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    return False
  return True
