"""What all launchers share: flags, how they start, and how they fail.

Without --submit, a launcher prints what it would do, and does nothing.
"""

from collections.abc import Callable
from collections.abc import Sequence
import os
import shlex
import subprocess
import sys
from typing import NoReturn

from absl import app
from absl import flags

from launch import job as job_lib
from launch import messages

_SUBMIT = flags.DEFINE_bool('submit', False, 'Does what is printed without it.')
_DRY_RUN = flags.DEFINE_bool(
    'dry_run', None, 'Prints what --submit would do: the default.'
)
_INTERRUPTED = 130  # As shells have it.


def is_submitting() -> bool:
  """Returns whether to act, rather than to print.

  Raises:
    LaunchError: if the flags want both, or neither.
  """
  if _DRY_RUN.value is not None and _DRY_RUN.value == _SUBMIT.value:
    raise job_lib.LaunchError(
        '--dry_run and --submit: give one of them (neither is --dry_run)'
    )
  return _SUBMIT.value


def run(main: Callable[[Sequence[str], Sequence[str]], int]) -> None:
  """Parses the flags, and exits with what `main` returns.

  Args:
    main: gets the words among the flags, and the words after `--`.
  """
  words = sys.argv
  position = words.index('--') if '--' in words else len(words)
  program = words[position + 1 :]

  def checked_main(argv: Sequence[str]) -> int:
    try:
      status = main(argv[1:], program)
      sys.stdout.flush()
      return status
    except job_lib.LaunchError as error:
      fail(str(error))
    except KeyboardInterrupt:
      messages.say('stopped here; what was asked for elsewhere goes on')
      return _INTERRUPTED
    except BrokenPipeError:  # Whoever read our output has gone.
      os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
      return 1

  app.run(checked_main, argv=words[:position], flags_parser=_parse)


def carry_out(commands: Sequence[job_lib.Command]) -> int:
  """Runs commands one after another, or prints them.

  Returns:
    The status of the first that fails, or 0.

  Raises:
    LaunchError: where a program of them is not on this machine.
  """
  if not is_submitting():
    for command in commands:
      print(command)
    messages.say('nothing was done; --submit does it')
    return 0
  for command in commands:
    if status := act(command):
      return status
  return 0


def act(command: job_lib.Command) -> int:
  """Runs a command, and returns its status.

  Raises:
    LaunchError: where its program is not on this machine.
  """
  messages.say(shlex.join(command.argv))
  try:
    return subprocess.run(
        command.argv,
        env={**os.environ, **dict(command.environment)},
        input=command.text,
        text=True,
        check=False,
    ).returncode
  except FileNotFoundError as error:
    raise job_lib.LaunchError(
        f'{command.argv[0]}: no such program here; without --submit, what it'
        ' does is printed, to be run elsewhere'
    ) from error


def refuse_words(words: Sequence[str]) -> None:
  """Raises LaunchError where a launcher takes no words among its flags."""
  if words:
    raise job_lib.LaunchError(
        f'{words[0]}: the program and its flags stand after --'
    )


def fail(message: str) -> NoReturn:
  """Ends with status 1 and one line."""
  print(f'error: {message}', file=sys.stderr)
  sys.exit(1)


def _parse(argv: Sequence[str]) -> list[str]:
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    message = ' '.join(str(error).split())
    fail(f'{message}; flags of the program stand after --; see --help')
