"""Output directory: appears whole or not at all, whatever fails."""

from collections.abc import Iterator
import contextlib
import fcntl
import os
import pathlib
import re
import shutil
import tempfile

from limaml_jax import errors
from limaml_jax.data import dataset

_SUFFIX = '.partial'  # Of what is being filled.


def find_earlier(output_dir: pathlib.Path) -> dataset.DatasetInfo | None:
  """Returns the facts of the dataset that is there, if one is.

  Raises:
    InputError: if something else is there, which must not be lost.
  """
  _recover(output_dir)
  if (output_dir / dataset.DATASET_FILE).exists():
    try:
      return dataset.load_info(output_dir)
    except (ValueError, TypeError, KeyError):
      return None  # Of another version; it will be replaced.
  if output_dir.exists() and (
      not output_dir.is_dir() or any(output_dir.iterdir())
  ):
    raise errors.InputError(
        f'{output_dir}: holds something else than a dataset; choose a new or'
        ' empty directory'
    )
  return None


@contextlib.contextmanager
def replacing(output_dir: pathlib.Path) -> Iterator[pathlib.Path]:
  """Gives a directory to fill, which then takes the place of `output_dir`.

  If the filling fails, what it left is deleted and `output_dir` untouched.
  """
  output_dir.parent.mkdir(parents=True, exist_ok=True)
  prefix = f'.{output_dir.name}.'
  ours = re.compile(f'{re.escape(prefix)}[a-z0-9_]{{8}}{re.escape(_SUFFIX)}')
  for left in output_dir.parent.iterdir():
    if ours.fullmatch(left.name):
      _delete_if_left(left)
  scratch = pathlib.Path(
      tempfile.mkdtemp(prefix=prefix, suffix=_SUFFIX, dir=output_dir.parent)
  )
  try:
    with contextlib.ExitStack() as stack:
      with contextlib.suppress(OSError):  # Not every file system has locks.
        stack.enter_context(_locked(scratch))
      scratch.chmod(0o755)  # mkdtemp keeps others out.
      yield scratch
      sync(scratch)
      _replace(scratch, output_dir)
  finally:
    shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _locked(directory):
  """Holds the lock of a directory, for as long as this process lives at most.

  Raises:
    OSError: if another process holds it.
  """
  descriptor = os.open(directory, os.O_RDONLY)
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    yield
  finally:
    os.close(descriptor)


def _delete_if_left(directory):
  """Deletes what nobody fills any more: whoever did was killed."""
  with contextlib.suppress(OSError), _locked(directory):
    shutil.rmtree(directory, ignore_errors=True)


def _replace(scratch, output_dir):
  """Renames `scratch` to `output_dir`, and what stood there aside."""
  aside = _aside(output_dir)
  if output_dir.exists():
    output_dir.rename(aside)
  try:
    scratch.rename(output_dir)
  except OSError:
    _recover(output_dir)
    raise
  sync(output_dir.parent)
  shutil.rmtree(aside, ignore_errors=True)


def _recover(output_dir):
  """Mends what a run killed between two renames left behind."""
  aside = _aside(output_dir)
  if aside.exists():
    if output_dir.exists():
      shutil.rmtree(aside)
    else:
      aside.rename(output_dir)


def _aside(output_dir):
  return output_dir.with_name(f'.{output_dir.name}.previous')


def sync(path: pathlib.Path) -> None:
  """Waits until a file or directory is on disk."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
