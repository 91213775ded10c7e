"""What all binaries share: how they start, and how they fail.

Bad input ends in one line and exit status 1; a traceback is a bug.
"""

from collections.abc import Callable
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


def run(main: Callable[[], None], *, subject: str = '') -> None:
  """Parses the flags and runs `main`.

  Args:
    main: reads the flags.
    subject: the one word that stands before the flags, where there is any.
  """

  def checked_main(argv: Sequence[str]) -> None:
    expected = [subject] if subject else []
    if argv[1:] != expected:
      given = ' '.join(argv[1:]) or 'nothing'
      wanted = f'"{subject}"' if subject else 'flags alone'
      _fail(f'expected {wanted} as arguments, not {given}; see --help')
    absl_logging.use_absl_handler()
    # Dependencies report their routine work at INFO; what we say is for people.
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger('limaml_jax').setLevel(logging.INFO)
    if _COMPILATION_CACHE.value:
      path = pathlib.Path(_COMPILATION_CACHE.value).absolute()
      jax.config.update('jax_compilation_cache_dir', str(path))
      jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)
    try:
      main()
    except errors.InputError as error:
      _fail(str(error))
    except OSError as error:  # A disk, a folder, a permission.
      if error.filename is None:
        raise
      _fail(f'{error.filename}: {error.strerror}; choose another path')

  app.run(checked_main, flags_parser=_parse)


def _parse(argv: Sequence[str]) -> list[str]:
  """Parses flags; what is wrong with them is one line, too."""
  try:
    return flags.FLAGS(config_flag.complete(argv))
  except (flags.Error, errors.InputError) as error:
    _fail(str(error))


def _fail(message: str) -> NoReturn:
  print(f'error: {message}', file=sys.stderr)
  sys.exit(1)
