"""Staging: the finished chunks of a refresh that has not finished yet.

DIR/job.json        which refresh, and when it began
DIR/00000012.npz    vectors of the plan's part 12, whole or not there

Whoever is killed is resumed from here, by the same job alone. Several processes
that share the folder exchange their parts here.
"""

from collections.abc import Collection
from collections.abc import Iterator
import contextlib
import json
import os
import pathlib
import shutil
import zipfile

import numpy as np

from limaml_jax import cluster
from limaml_jax import errors
from limaml_jax.refresh import generate
from limaml_jax.store import durable

_JOB_FILE = 'job.json'
_UNREADABLE = (
    OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile
)  # fmt: skip


class Staging:
  """The chunks of one job.

  Attributes:
    job: names everything that decides the vectors.
    created: when the job first began, UTC seconds.
  """

  def __init__(self, directory: pathlib.Path, job: str, created: int):
    self._directory = directory
    self.job = job
    self.created = created

  def done(
      self, plan: generate.Plan, among: Collection[int] | None = None
  ) -> dict[int, np.ndarray]:
    """Returns the vectors of the parts that are finished, by number.

    Args:
      plan: of the job.
      among: numbers of parts that are looked for; all when left out.
    """
    found = {}
    for number, part in enumerate(plan.parts):
      if among is not None and number not in among:
        continue
      with contextlib.suppress(*_UNREADABLE):
        with np.load(self._path(number), allow_pickle=False) as arrays:
          # Who was given up for dead may still write, of another job.
          is_ours = arrays['job'] == self.job
          if is_ours and np.array_equal(arrays['entities'], part.entities):
            found[number] = arrays['vectors']
    return found

  def collect(
      self, plan: generate.Plan, among: Collection[int]
  ) -> dict[int, np.ndarray]:
    """Returns the vectors of parts that other processes have finished.

    Args:
      plan: of the job.
      among: numbers of the parts.

    Raises:
      InputError: if they do not appear here.
    """
    found: dict[int, np.ndarray] = {}

    def look() -> dict[int, np.ndarray] | None:
      found.update(self.done(plan, set(among) - found.keys()))
      return found if len(found) == len(among) else None

    return cluster.look_until(
        look, f'{self._directory}: parts of other processes are not here'
    )

  def add(self, chunk: generate.Chunk) -> None:
    """Keeps a chunk; returns once the disk has it.

    Raises:
      InputError: if the disk is full or refuses.
    """
    path = self._path(chunk.number)
    # Not one that somebody else may be writing, on another machine.
    temporary = path.with_suffix(f'.{cluster.place().index}.{os.getpid()}')
    try:
      with open(temporary, 'wb') as file:
        np.savez(
            file,
            entities=chunk.entities,
            vectors=chunk.vectors,
            job=np.asarray(self.job),
        )
        file.flush()
        os.fsync(file.fileno())
      temporary.replace(path)
    except OSError as error:
      raise errors.InputError(
          f'{path}: cannot be written ({error.strerror}); make room, or make it'
          ' writable, and run again: finished chunks are kept'
      ) from error

  def clear(self) -> None:
    """Forgets the job, which is over."""
    _clear(self._directory)

  def _path(self, number: int) -> pathlib.Path:
    return self._directory / f'{number:08d}.npz'


@contextlib.contextmanager
def open_job(
    directory: pathlib.Path, job: str, *, now: int
) -> Iterator[Staging]:
  """Opens the staging of a job, new or begun earlier; no other is let in.

  Args:
    directory: of its files; those of another job are removed.
    job: names everything that decides the vectors.
    now: UTC seconds.

  Raises:
    InputError: if another process is at work in the directory.
  """
  directory.mkdir(parents=True, exist_ok=True)
  with open(directory / '.lock', 'a', encoding='utf-8') as lock:
    if not durable.try_lock(lock):
      raise errors.InputError(
          f'{directory}: another refresh is at work here; wait for it'
      )
    created = _begun(directory, job)
    if created is None:
      _clear(directory)
      created = now
      _write_job(directory, {'job': job, 'created': now})
    yield Staging(directory, job, created)


def join_job(directory: pathlib.Path, job: str) -> Staging:
  """Opens the staging of a job that the first process has open.

  Raises:
    InputError: if it is not seen here.
  """
  created = cluster.look_until(
      lambda: _begun(directory, job),
      f'{directory}: the job that the first process began is not here',
  )
  return Staging(directory, job, created)


def _begun(directory: pathlib.Path, job: str) -> int | None:
  """Returns when this very job began here; None if it did not."""
  try:
    found = json.loads((directory / _JOB_FILE).read_text())
    return int(found['created']) if found['job'] == job else None
  except (OSError, ValueError, KeyError, TypeError):
    return None


def _write_job(directory: pathlib.Path, fields: dict) -> None:
  temporary = directory / f'{_JOB_FILE}.tmp'
  try:
    temporary.write_text(json.dumps(fields))
    temporary.replace(directory / _JOB_FILE)
  except OSError as error:
    raise errors.InputError(
        f'{directory / _JOB_FILE}: cannot be written ({error.strerror}); make'
        ' room, and run again'
    ) from error


def _clear(directory: pathlib.Path) -> None:
  for path in directory.iterdir():
    if path.name == '.lock':
      continue
    if path.is_dir():
      shutil.rmtree(path)
    else:
      path.unlink(missing_ok=True)
