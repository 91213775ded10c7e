"""What a run was asked to do: kept beside its checkpoints, and held to.

WORKDIR/config.json   settings by dotted name, and which data they were for
"""

import json
import pathlib

from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax import overrides
from limaml_jax.blocks import encoder
from limaml_jax.data import dataset

CONFIG_FILE = 'config.json'
# Where a run is computed, not what: it may go on with others.
_PLACEMENT = ('training.mesh_rows', 'training.memory_budget_bytes')
_DATA = 'dataset fingerprint'
_ENCODING = 'dataset encoding'
# Of tables: what is in which row. Runs of before it had a number say nothing.
_LAYOUT = 'table layout'
_DEALT = 2
_NO_SETTINGS = (_DATA, _ENCODING, _LAYOUT)


def settle(
    workdir: pathlib.Path,
    config: config_lib.Config,
    info: dataset.DatasetInfo,
    *,
    writes: bool = True,
) -> None:
  """Writes config.json, or refuses to continue a run that was another.

  Args:
    workdir: of the run.
    config: of the run.
    info: of the dataset; to go on takes one of the same contents.
    writes: False where another process does.

  Raises:
    InputError: if `workdir` holds a run with other settings or data; it names
      the differences.
  """
  path = workdir / CONFIG_FILE
  wanted = overrides.flatten(config) | {
      _DATA: info.fingerprint,
      _ENCODING: info.encoding,
      _LAYOUT: _DEALT,
  }
  wanted = json.loads(json.dumps(wanted))
  if not path.exists():
    if not writes:
      return
    workdir.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix('.tmp')
    temporary.write_text(json.dumps(wanted, indent=2))
    temporary.replace(path)
    return
  found = _with_layout(_with_defaults(_read_config(path)), info)
  differences = [
      f'{name} was {found.get(name)!r}, is {wanted.get(name)!r}'
      for name in sorted(found.keys() | wanted.keys())
      if found.get(name) != wanted.get(name) and name not in _PLACEMENT
  ]
  if differences:
    raise errors.InputError(
        f'{path}: this run was started differently: {"; ".join(differences)}. '
        'Choose another --workdir, or restore the settings to resume'
    )


def read_settings(workdir: pathlib.Path) -> dict:
  """Returns the settings of the run in `workdir`, by dotted name.

  Raises:
    InputError: if there is no run.
  """
  settings = _with_defaults(_find_config(workdir / CONFIG_FILE))
  return {n: v for n, v in settings.items() if n not in _NO_SETTINGS}


def load(
    workdir: pathlib.Path, info: dataset.DatasetInfo
) -> config_lib.Config:
  """Reads the settings of the run in `workdir`, to restore its model.

  Args:
    workdir: of the run.
    info: of the dataset that the model is to read: the one that it was trained
      on, or another of the same encoding.

  Raises:
    InputError: if there is no run, or its data were encoded otherwise.
  """
  path = workdir / CONFIG_FILE
  settings = _with_layout(_find_config(path), info)
  settings.pop(_DATA, None)
  encoding = settings.pop(_ENCODING, None)
  layout = settings.pop(_LAYOUT, None)
  if encoding != info.encoding:
    raise errors.InputError(
        f'{path}: the run was trained on data of encoding {encoding}, and'
        f' --data is of encoding {info.encoding}: its numbers mean something'
        ' else to the model; run `python -m experiments.prepare'
        ' --encoding_of=DIR` with the dataset that it was trained on, and pass'
        ' the result as --data'
    )
  if layout != _DEALT:
    raise errors.InputError(
        f'{path}: the run has rows of large tables in another order; train it'
        ' anew, or read it with the version of this program that trained it'
    )
  return overrides.override(config_lib.Config(), settings)


def _find_config(path: pathlib.Path) -> dict:
  if not path.exists():
    raise errors.InputError(
        f'{path}: not found; run `python -m experiments.train` first'
    )
  return _read_config(path)


def _with_defaults(settings: dict) -> dict:
  """Adds settings newer than a run: their defaults are what was done before."""
  defaults = json.loads(json.dumps(overrides.flatten(config_lib.Config())))
  return defaults | settings


def _with_layout(settings: dict, info: dataset.DatasetInfo) -> dict:
  """Adds the layout to a run of before it was told, if its tables are small."""
  num_rows = sum(spec.num_rows for spec in info.features)
  small = {} if num_rows > encoder.MANY_ROWS else {_LAYOUT: _DEALT}
  return small | settings


def _read_config(path: pathlib.Path) -> dict:
  try:
    settings = json.loads(path.read_text())
  except ValueError as error:
    raise errors.InputError(
        f'{path}: torn; restore it, or train into another --workdir'
    ) from error
  if not isinstance(settings, dict):
    raise errors.InputError(f'{path}: holds no settings')
  return settings
