"""Datasets of a study: prepared once for each schema, data and protocol."""

import dataclasses
import pathlib

from experiments import pipeline
from experiments import progress
from experiments.study import detector
from experiments.study import run as run_lib
from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax.data import prepare as prepare_lib
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import schema_file

_KEPT = 8  # In memory; the page of `refresh` reads six again.
_DATA_DIR = 'data'


class Datasets:
  """Prepares, loads and keeps datasets."""

  def __init__(self, workdir: pathlib.Path, data_dir: pathlib.Path | None):
    """Reads nothing yet.

    Args:
      workdir: of all studies.
      data_dir: of the raw files; None takes only what is prepared.
    """
    self._root = workdir / _DATA_DIR
    self._data_dir = data_dir
    self._loaded: dict[str, pipeline.Dataset] = {}
    self._leaks: dict[str, list[str]] = {}

  def get(
      self, config: config_lib.Config, roles: dict[str, str]
  ) -> pipeline.Dataset:
    """Returns the dataset of a configuration.

    Args:
      config: of a run.
      roles: of features whose role is not that of the schema, by name.

    Raises:
      InputError: if it is not prepared and cannot be.
    """
    schema = schema_file.load(pipeline.schema_path(config.data.schema))
    schema = with_roles(schema, roles)
    data = dataclasses.replace(config.data, schema='')
    key = run_lib.digest(
        dataclasses.asdict(dataclasses.replace(schema, path='')),
        dataclasses.asdict(data),
        dataclasses.asdict(config.protocol),
    )
    if key not in self._loaded:
      directory = self._root / key
      self._prepare(config, schema, directory)
      self._loaded[key] = pipeline.load(directory)
      if key not in self._leaks:
        past = [f.name for f in schema.features if f.is_past]
        self._leaks[key] = detector.find_leaks(self._loaded[key], past)
      for stale in list(self._loaded)[:-_KEPT]:
        del self._loaded[stale]
    return self._loaded[key]

  def leaks(self) -> list[str]:
    """Returns the leaks of all datasets that were asked for so far."""
    return list(dict.fromkeys(sum(self._leaks.values(), [])))

  def _prepare(self, config, schema, directory):
    if self._data_dir is None:
      if not directory.exists():
        raise errors.InputError(
            f'{directory}: {schema.name} is not prepared here under these '
            'settings; pass --data_dir, the folder of its raw files, which '
            'later calls with this workdir do without'
        )
      return
    with progress.bar('prepare') as update:
      prepare_lib.prepare(
          schema,
          self._data_dir,
          directory,
          data=config.data,
          protocol=config.protocol,
          on_progress=lambda stage, done, total: update(done, total),
      )


def with_roles(
    schema: schema_lib.Schema, roles: dict[str, str]
) -> schema_lib.Schema:
  """Returns a schema whose features have other roles.

  Args:
    schema: of the log.
    roles: 'meta', 'global' or 'both', by the name of the feature.

  Raises:
    InputError: for a feature that the schema does not have.
  """
  missing = roles.keys() - {feature.name for feature in schema.features}
  if missing or not set(roles.values()) <= set(schema_lib.ROLES):
    raise errors.InputError(
        f'{schema.path}: roles {roles}: the schema has no feature '
        f'{", ".join(sorted(missing))}, or a role is none of '
        f'{", ".join(schema_lib.ROLES)}; mend the study'
    )
  features = tuple(
      dataclasses.replace(f, role=roles.get(f.name, f.role))
      for f in schema.features
  )
  return dataclasses.replace(schema, features=features)
