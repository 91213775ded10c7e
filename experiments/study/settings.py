"""Settings of a study: the study and a configuration file, by their names."""

from collections.abc import Mapping
import importlib
import importlib.util
import pathlib
import types
from typing import Any
from typing import NamedTuple

from ml_collections import config_dict

from experiments import config_flag
from experiments import variants
from experiments.baselines import registry
from experiments.study import run as run_lib
from limaml_jax import config as config_lib
from limaml_jax import errors

_CONFIGS = pathlib.Path(__file__).resolve().parents[1] / 'configs'
_STUDIES = pathlib.Path(__file__).parents[1] / 'studies'


class Settings(NamedTuple):
  """What all runs of a study have in common.

  Attributes:
    name: of the data, for people and folders; with a hash of its path where
      the configuration is not one of experiments/configs.
    file: of the configuration.
    given: overrides of the command line, by dotted name.
  """

  name: str
  file: config_dict.ConfigDict
  given: Mapping[str, Any]

  @property
  def label(self) -> str:
    """The name; what the command line overrides makes it another one."""
    if not self.given:
      return self.name
    return f'{self.name}-{run_lib.digest(self.given)[:8]}'

  def resolve(self, run: run_lib.Run, seed: int = 0) -> config_lib.Config:
    """Returns the settings of a run.

    Raises:
      InputError: for a setting that does not exist.
    """
    # Of what takes the settings of no variant, data and protocol matter.
    variant = registry.VARIANTS.get(run.variant, variants.LIMAML)
    if run.variant in variants.TRAINED:
      variant = run.variant
    config = variants.resolve(
        self.file, variant, {**self.given, **run.settings}
    )
    return variants.with_seed(config, seed)


def load_study(name: str) -> types.ModuleType:
  """Loads a file of experiments/studies.

  Raises:
    InputError: if there is no such study.
  """
  known = _names(_STUDIES)
  if name not in known:
    raise errors.InputError(
        f'--name={name}: no such study; choose one of {", ".join(known)}'
    )
  return importlib.import_module(f'experiments.studies.{name}')


def load(name: str, given: Mapping[str, Any]) -> Settings:
  """Loads a configuration: a path, or a name under experiments/configs.

  Raises:
    InputError: if there is neither.
  """
  path = pathlib.Path(name)
  if path.suffix != '.py':
    path = _CONFIGS / f'{name}.py'
  if not path.is_file():
    raise errors.InputError(
        f'--data={name}: no such configuration; choose one of '
        f'{", ".join(_names(_CONFIGS))}, or pass the path of a .py file'
    )
  config_flag.check_file(str(path), flag='data')
  spec = importlib.util.spec_from_file_location(f'config_{path.stem}', path)
  assert spec is not None and spec.loader is not None
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  name = path.stem
  if path.resolve().parent != _CONFIGS:
    name = f'{name}-{run_lib.digest(str(path.resolve()))[:8]}'
  return Settings(name, module.get_config(), given)


def _names(directory: pathlib.Path) -> list[str]:
  return sorted(p.stem for p in directory.glob('*.py') if p.stem[0] != '_')
