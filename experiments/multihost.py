"""What binaries share that run on one process or on several of a cluster.

A process that ends where others wait for it must not wait for them in turn: it
leaves within a moment, and they notice. Its exit status tells a launcher
whether to start the job again: 75 is a peer that was lost, 1 is for good.
"""

from collections.abc import Callable
import functools
import logging
import os
import signal
import sys
import traceback
from typing import NoReturn

from absl import flags
import jax

from experiments import binary
from limaml_jax import cluster
from limaml_jax import errors

flags.adopt_module_key_flags(binary)

# Of errors that jax raises of a program, not of its peers.
_OWN_FAULTS = ('RESOURCE_EXHAUSTED', 'INVALID_ARGUMENT', 'UNIMPLEMENTED')
LOST = 75  # EX_TEMPFAIL of sysexits.h.
_MOMENT_SECONDS = 5.0  # In which all read the same input, and fail of it.

_MULTIHOST = flags.DEFINE_boolean(
    'multihost',
    None,
    'One of several processes: a task of a SLURM step, a host of a TPU pod, or '
    f'told so by {", ".join(cluster.VARIABLES)}. Left out, they are joined '
    'where they are found; given, not to find them is an error.',
)
_PEER_TIMEOUT = flags.DEFINE_integer(
    'peer_timeout_seconds',
    60,
    'After which a process that is not heard of ends the job, so that its '
    'launcher can start it again.',
    lower_bound=1,
)
_JOIN_TIMEOUT = flags.DEFINE_integer(
    'join_timeout_seconds',
    300,
    'For the other processes to start.',
    lower_bound=1,
)


def run(main: Callable[[], None], *, notes_sigterm: bool) -> None:
  """Parses the flags, joins the cluster if there is one, and runs `main`.

  Args:
    main: reads the flags.
    notes_sigterm: SIGTERM is told to all processes, and `main` sees to it;
      otherwise it ends the one that gets it.
  """
  binary.run(functools.partial(_run, main, notes_sigterm))


def _run(main: Callable[[], None], notes_sigterm: bool) -> None:
  if os.getpid() == 1:  # Of a container: SIGTERM would do nothing.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
  try:
    place = cluster.join(
        required=_MULTIHOST.value,
        peer_timeout_seconds=_PEER_TIMEOUT.value,
        join_timeout_seconds=_JOIN_TIMEOUT.value,
        notes_sigterm=notes_sigterm,
    )
  except cluster.LostError as error:
    _leave(f'error: the other processes {error}', LOST)
  if place.count == 1:
    main()
    return
  if not cluster.is_first():  # They would all say the same.
    logging.getLogger('limaml_jax').setLevel(logging.WARNING)
  try:
    main()
  except cluster.KnownError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(1)  # In order: all do.
  except (errors.InputError, OSError) as error:
    line = binary.line_of(error)
    _leave(f'error: {line}' if line else traceback.format_exc(), 1)
  except jax.errors.JaxRuntimeError as error:
    reason = str(error).strip().splitlines()[0][:200]
    if reason.startswith(_OWN_FAULTS):
      _leave(traceback.format_exc(), 1)
    _leave(
        f'error: process {place.index} of {place.count} lost the others'
        f' ({reason}); start all of them again, they resume',
        LOST,
    )
  except Exception:  # A bug: the others are not to wait for this process.
    _leave(traceback.format_exc(), 1)


def _leave(message: str, status: int) -> NoReturn:
  print(message, file=sys.stderr, flush=True)
  sys.stdout.flush()
  if status != LOST and cluster.meet('failed', seconds=_MOMENT_SECONDS):
    sys.exit(status)  # All failed of the same: in order.
  os._exit(status)
