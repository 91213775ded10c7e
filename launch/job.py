"""What is launched: values that every launcher plans with.

A launcher is `plan(topology, job)`, which returns commands or manifests and
does nothing, and a `main` that prints them or acts on them.
"""

from collections.abc import Sequence
import re
import shlex
import signal
from typing import NamedTuple

# Exit statuses of the programs, and what a launcher does about them.
DONE = 0
AGAIN = 75  # Lost a peer, or preempted: started again, it resumes.
_SIGNALS = 128  # Added to the number of a signal, where a shell reports it.
_ABORTED = (-signal.SIGABRT, _SIGNALS + signal.SIGABRT)

_MODULE = re.compile(r'[A-Za-z_]\w*(\.[A-Za-z_]\w*)*')
_NAME = re.compile(r'[a-z]([-a-z0-9]*[a-z0-9])?')
_MAX_NAME = 40  # Kubernetes: names of pods add to it, and end at 63.


class LaunchError(Exception):
  """Bad input: one line that says what, where, and what to do."""


class Job(NamedTuple):
  """A program, run in the same way by each process of a cluster.

  Attributes:
    module: what `python -m` runs.
    arguments: its arguments.
    name: of the run; letters, digits and dashes.
    python: interpreter, where it is run.
    environment: variables of every process.
  """

  module: str
  arguments: tuple[str, ...] = ()
  name: str = 'limaml'
  python: str = 'python'
  environment: tuple[tuple[str, str], ...] = ()


class Command(NamedTuple):
  """A program to start: never a text for a shell.

  Attributes:
    argv: words.
    environment: variables beside those of the launcher.
    text: what it reads, if anything.
  """

  argv: tuple[str, ...]
  environment: tuple[tuple[str, str], ...] = ()
  text: str = ''

  def __str__(self) -> str:
    """Returns the line that one can paste into a shell.

    Where it reads a text, that is what one can save: the line is a comment.
    """
    settings = [f'{name}={value}' for name, value in self.environment]
    line = shlex.join([*(['env'] if settings else []), *settings, *self.argv])
    return f'# {line}\n{self.text.rstrip()}' if self.text else line


def parse(program: Sequence[str], **fields) -> Job:
  """Returns the job of the words after `--`: -m MODULE ARGUMENTS.

  Args:
    program: the words.
    **fields: the other fields of `Job`.

  Raises:
    LaunchError: if they are not that, or the job's name is none.
  """
  if len(program) < 2 or program[0] != '-m':
    given = shlex.join(program) or 'nothing'
    raise LaunchError(
        f'after --: {given}; give the program there, such as'
        ' -- -m experiments.train --data=DIR --workdir=DIR'
    )
  if not _MODULE.fullmatch(program[1]):
    raise LaunchError(
        f'-m {program[1]!r}: no name of a module; give one like'
        ' experiments.train'
    )
  job = Job(program[1], tuple(program[2:]), **fields)
  if not _NAME.fullmatch(job.name) or len(job.name) > _MAX_NAME:
    raise LaunchError(
        f'--name={job.name}: use at most {_MAX_NAME} lower-case letters,'
        ' digits and dashes, a letter first'
    )
  return job


def argv(job: Job, *, is_cluster: bool) -> tuple[str, ...]:
  """Returns what one process runs.

  Args:
    job: the program.
    is_cluster: whether there is more than one process. Then a process that
      finds no cluster must fail, rather than do all the work alone.
  """
  words = (job.python, '-m', job.module, *job.arguments)
  is_told = '--multihost' in job.arguments
  return (*words, '--multihost') if is_cluster and not is_told else words


def is_again(status: int) -> bool:
  """Returns whether a process that ended so is to be started again.

  Args:
    status: negative for a death by signal, as subprocess has it, or above 128,
      as shells have it.
  """
  return status < 0 or status == AGAIN or status > _SIGNALS


def exit_status(status: int) -> int:
  """Returns the status of a child as one to exit with."""
  return _SIGNALS - status if status < 0 else status


def verdict(statuses: Sequence[int]) -> int:
  """Returns the status that tells why a cluster ended.

  The first death is the cause, and those after it are its effects; but 75 says
  of itself that it is an effect, and so may an abort be: jax ends a process by
  it that has lost the first one.

  Args:
    statuses: of its processes, in the order in which they ended.
  """
  failed = [status for status in statuses if status != DONE]
  deaths = [status for status in failed if status != AGAIN]
  causes = [status for status in deaths if status not in _ABORTED]
  return (causes or deaths or failed or [DONE])[0]
