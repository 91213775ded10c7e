"""What all binaries share: how they start, and how they fail.

Bad input ends in one line and exit status 1; a traceback is a bug.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import logging
import os
import pathlib
import sys
from typing import NoReturn

from absl import app
from absl import flags
from absl import logging as absl_logging
import jax

from experiments import config_flag
from limaml_jax import errors

_COMPILATION_CACHE = flags.DEFINE_string(
    'compilation_cache',
    os.path.join('runs', 'compilation_cache'),
    'Directory in which compiled programs are kept for the next run; empty '
    'keeps none.',
)


def run(main: Callable[[], None]) -> None:
  """Parses the flags, and runs what reads them."""
  run_subject({'': main})


def run_subject(mains: Mapping[str, Callable[[], None]]) -> None:
  """Parses the flags, and runs the one that a word before them names.

  Args:
    mains: what reads the flags, by that word; '' is for no word.
  """

  def checked_main(argv: Sequence[str]) -> None:
    given = ' '.join(argv[1:])
    if given not in mains:
      words = ' or '.join(f'"{name}"' if name else 'none' for name in mains)
      _fail(
          f'expected as arguments {words}, not {given or "none"}; see --help'
      )
    absl_logging.use_absl_handler()
    # Dependencies report their routine work at INFO; what we say is for people.
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger('limaml_jax').setLevel(logging.INFO)
    if _COMPILATION_CACHE.value:
      path = pathlib.Path(_COMPILATION_CACHE.value).absolute()
      jax.config.update('jax_compilation_cache_dir', str(path))
      jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)
    try:
      mains[given]()
    except (errors.InputError, OSError) as error:
      line = line_of(error)
      if line is None:
        raise
      _fail(line)

  app.run(checked_main, flags_parser=_parse)


def line_of(error: errors.InputError | OSError) -> str | None:
  """Returns what to tell of bad input, a disk, a folder, a permission.

  None is for what is told of by a traceback: an OSError that names no file.
  """
  if isinstance(error, errors.InputError):
    return str(error)
  if error.filename is None:
    return None
  return f'{error.filename}: {error.strerror}; choose another path'


def _parse(argv: Sequence[str]) -> list[str]:
  """Parses flags; what is wrong with them is one line, too."""
  try:
    return flags.FLAGS(config_flag.complete(argv))
  except (flags.Error, errors.InputError) as error:
    _fail(str(error))


def _fail(message: str) -> NoReturn:
  print(f'error: {message}', file=sys.stderr)
  sys.exit(1)
