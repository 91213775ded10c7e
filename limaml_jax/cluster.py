"""The processes of one job: found in the environment, joined, waited for.

A job is one process, or several that run the same program over all their
devices at once. Which cluster a process is part of is never guessed: it says so
in variables, or SLURM or a TPU pod does.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import json
import os
import time
from typing import Any
from typing import NamedTuple
from typing import TypeVar

import jax
from jax.experimental import multihost_utils
import numpy as np

from limaml_jax import errors

ADDRESS = 'JAX_COORDINATOR_ADDRESS'
NUM_PROCESSES = 'JAX_NUM_PROCESSES'
PROCESS_ID = 'JAX_PROCESS_ID'
VARIABLES = (ADDRESS, NUM_PROCESSES, PROCESS_ID)
# A network file system may show a folder as it was before, for so long.
_PATIENCE_SECONDS = 90.0
_LOOK_SECONDS = 0.2
# What makes a task of a SLURM step, as jax reads it.
_SLURM = ('SLURM_JOB_ID', 'SLURM_STEP_NODELIST', 'SLURM_NTASKS', 'SLURM_PROCID')
_TPU_HOSTS = 'TPU_WORKER_HOSTNAMES'
_TPU_SLICES = 'MEGASCALE_NUM_SLICES'
_FOREVER_MS = 7 * 24 * 3600 * 1000  # A peer that is lost is noticed anyway.
_ERROR = 'error'
_PAGE_BYTES = 4096

_Found = TypeVar('_Found')


class Place(NamedTuple):
  """Where a process stands in its job.

  Attributes:
    index: its number, from 0.
    count: processes of the job.
  """

  index: int = 0
  count: int = 1


_place = Place()


class KnownError(errors.InputError):
  """Bad input that all processes know of: none waits for another in vain."""


class LostError(Exception):
  """The others are not there, or not any more; started again, all may be."""


def place() -> Place:
  """Returns where this process stands; the only one until it has joined."""
  return _place


def is_first() -> bool:
  """Says whether this process writes what is written once."""
  return _place.index == 0


def join(
    *,
    required: bool | None,
    peer_timeout_seconds: int,
    join_timeout_seconds: int = 300,
    notes_sigterm: bool = True,
    environ: Mapping[str, str] = os.environ,
) -> Place:
  """Joins the cluster that the environment tells of, if it tells of one.

  Args:
    required: True where there must be one, False where it is left alone.
    peer_timeout_seconds: after which a silent process is given up, and with it
      the job.
    join_timeout_seconds: for the others to start.
    notes_sigterm: SIGTERM to one is told to all (`preemption`) instead of
      ending it.
    environ: variables of the process.

  Raises:
    InputError: if none is found that is required.
    LostError: if the others are not met in time.
  """
  global _place
  if required is False:
    return _place
  arguments = find(environ)
  if arguments is None and not required:
    return _place
  jax.config.update('jax_enable_preemption_service', notes_sigterm)
  try:
    jax.distributed.initialize(
        **(arguments or {}),
        initialization_timeout=join_timeout_seconds,
        heartbeat_timeout_seconds=peer_timeout_seconds,
        shutdown_timeout_seconds=peer_timeout_seconds,
    )
  except ValueError as error:
    raise errors.InputError(
        f'--multihost: no cluster found ({error}); start it under SLURM or on a'
        f' TPU pod, or set {", ".join(VARIABLES)}'
    ) from error
  except RuntimeError as error:
    reason = str(error).strip().splitlines()[0]
    raise LostError(f'were not met: {reason[:200]}') from error
  _place = Place(jax.process_index(), jax.process_count())
  return _place


def wait_for_all(what: str) -> None:
  """Returns once every process of the job has come here, however late.

  Args:
    what: names this place of the program, the same in all processes.
  """
  if _place.count > 1:
    # Not by the devices: their wait ends after minutes, in an error.
    _barrier(what, _FOREVER_MS)


def meet(what: str, *, seconds: float) -> bool:
  """Returns whether every process comes here within a moment.

  Args:
    what: as in `wait_for_all`.
    seconds: to wait for the others.
  """
  try:
    _barrier(what, int(seconds * 1000))
  except jax.errors.JaxRuntimeError:
    return False
  return True


def look_until(look: Callable[[], _Found | None], problem: str) -> _Found:
  """Returns what `look` finds of what another process has written.

  Args:
    look: returns None where there is nothing yet.
    problem: what to say if it does not appear.

  Raises:
    InputError: if it does not.
  """
  deadline = time.monotonic() + _PATIENCE_SECONDS
  while (found := look()) is None:
    if time.monotonic() > deadline:
      raise errors.InputError(
          f'{problem}; put --workdir on a file system that all processes share'
      )
    time.sleep(_LOOK_SECONDS)
  return found


def tell(word: dict[str, Any]) -> None:
  """Tells all others, who `hear` it, once they have all come to that.

  Args:
    word: of the first process; what JSON can write.
  """
  if _place.count > 1:
    _broadcast(json.dumps(word).encode())


def hear() -> dict[str, Any]:
  """Waits for what the first process tells, and returns it.

  Raises:
    KnownError: if that is an error of its own.
  """
  word = json.loads(_broadcast(b''))
  if _ERROR in word:
    raise KnownError(word[_ERROR])
  return word


@contextlib.contextmanager
def telling_errors() -> Iterator[None]:
  """While the first process leads and others `hear`, tells what fails.

  Raises:
    KnownError: for bad input, among several processes.
  """
  try:
    yield
  except (errors.InputError, OSError) as error:
    if _place.count == 1:
      raise
    tell({_ERROR: str(error)})
    raise KnownError(str(error)) from error


def _barrier(what: str, timeout_ms: int) -> None:
  # Only several processes need it, and it takes long to import.
  from orbax.checkpoint import multihost

  multihost.get_barrier_sync_fn()(key=what, timeout_ms=timeout_ms)


def _broadcast(message: bytes) -> bytes:
  """Returns the message of the first process, in all of them."""
  wait_for_all('word')
  share = multihost_utils.broadcast_one_to_all
  size = int(share(np.int32(len(message))))
  padded = np.zeros(-(-size // _PAGE_BYTES) * _PAGE_BYTES, np.uint8)
  padded[: len(message)] = np.frombuffer(message, np.uint8)
  return np.asarray(share(padded), np.uint8)[:size].tobytes()


def find(environ: Mapping[str, str]) -> dict | None:
  """Returns arguments of `jax.distributed.initialize`, None without a cluster.

  They are {} where jax finds them itself: for one of several tasks of a SLURM
  step, and for a host of a TPU pod.

  Args:
    environ: variables of the process.

  Raises:
    InputError: for variables that are incomplete, or no numbers.
  """
  given = [name for name in VARIABLES if environ.get(name)]
  if len(given) == len(VARIABLES):
    return _explicit(environ)
  if _int(environ, 'SLURM_STEP_NUM_TASKS', 1) > 1 and all(
      name in environ for name in _SLURM
  ):
    return {}
  if ',' in environ.get(_TPU_HOSTS, '') or _int(environ, _TPU_SLICES, 1) > 1:
    return {}
  if given:
    missing = ', '.join(sorted(set(VARIABLES) - set(given)))
    raise errors.InputError(
        f'{", ".join(given)}: set without {missing}; set all of them, or none'
    )
  return None


def _explicit(environ: Mapping[str, str]) -> dict:
  count = _int(environ, NUM_PROCESSES)
  index = _int(environ, PROCESS_ID)
  if not 0 <= index < count:
    raise errors.InputError(
        f'{PROCESS_ID}: {index} is not one of {NUM_PROCESSES}={count} processes'
        ', which count from 0'
    )
  if ':' not in environ[ADDRESS]:
    raise errors.InputError(
        f'{ADDRESS}: {environ[ADDRESS]!r} has no port; give HOST:PORT of the'
        ' first process'
    )
  return {
      'coordinator_address': environ[ADDRESS],
      'num_processes': count,
      'process_id': index,
  }


def _int(
    environ: Mapping[str, str], name: str, default: int | None = None
) -> int:
  text = environ.get(name)
  if text is None and default is not None:
    return default
  try:
    return int(text or '')
  except ValueError as error:
    raise errors.InputError(f'{name}: {text!r} is no whole number') from error
