"""--config: a file of settings, and typed overrides of single ones.

    --config=experiments/configs/kuairand.py --config.outer_loop.num_epochs=2

A file's `get_config` returns the settings of `limaml_jax.config.Config` plus,
under `variants`, what is tuned for each variant. An override on the command
line comes last. Unknown names and wrong types are refused.
"""

from collections.abc import Sequence
import pathlib

from absl import flags
from ml_collections import config_flags

from experiments import variants
from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax import overrides

_CONFIGS = pathlib.Path(__file__).parent / 'configs'
_DEFAULT = str(_CONFIGS / 'ml100k.py')
# The default for a schema of one's own.
_DEFAULT_WITH_SCHEMA = str(_CONFIGS / 'defaults.py')
# A default of the flag itself would be read, and fail, before `complete`.
_CONFIG = config_flags.DEFINE_config_file(
    'config',
    None,
    f'Settings; override one by --config.NAME=VALUE. (default: {_DEFAULT}, with'
    f' --schema {_DEFAULT_WITH_SCHEMA})',
)


def complete(argv: Sequence[str]) -> list[str]:
  """Checks --config and its overrides, and adds the default file.

  Raises:
    InputError: for a file or a setting that does not exist.
  """
  known = overrides.flatten(config_lib.Config())
  for argument in argv:
    flag, _, value = argument.lstrip('-').partition('=')
    if flag == 'config':
      check_file(value)
    name = flag.removeprefix('config.')
    if name != flag and name not in known:
      raise errors.InputError(
          f'--{flag}: no such setting{overrides.nearest(name)}'
      )
  given = {a.lstrip('-').partition('=')[0] for a in argv if a.startswith('-')}
  default = _DEFAULT_WITH_SCHEMA if 'schema' in given else _DEFAULT
  added = [] if 'config' in given else [f'--config={default}']
  return [*argv[:1], *added, *argv[1:]]


def check_file(name: str, flag: str = 'config') -> None:
  """Raises InputError where a flag names no file of settings."""
  path = pathlib.Path(name)
  if not path.is_file():
    raise errors.InputError(
        f'--{flag}={name}: no such file; see experiments/configs'
    )
  if path.suffix != '.py' or 'def get_config(' not in path.read_text():
    raise errors.InputError(
        f'--{flag}={name}: must be a Python file with a function get_config, '
        'like those under experiments/configs'
    )


def resolve(variant: str) -> config_lib.Config:
  """Returns the settings of a variant, overrides of the command line included.

  Raises:
    InputError: for a variant or setting that does not exist.
  """
  if variant not in variants.TRAINED:
    raise errors.InputError(
        f'--variant={variant}: unknown; choose one of '
        f'{", ".join(variants.TRAINED)}'
    )
  return variants.resolve(_CONFIG.value, variant, given())


def given() -> dict[str, object]:
  """Returns the overrides of the command line, by dotted name."""
  return dict(config_flags.get_override_values(flags.FLAGS['config']))
