"""Datasets of a study: prepared once for each schema, data and protocol."""

from collections.abc import Mapping
import dataclasses
import pathlib
from typing import NamedTuple

from experiments import pipeline
from experiments import progress
from experiments import raw_links
from experiments.embedding_features import writing
from experiments.study import detector
from experiments.study import run as run_lib
from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax.data import prepare as prepare_lib
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import schema_file

_KEPT = 8  # In memory; the page of `refresh` reads six again.
_DATA_DIR, _FEATURES_DIR = 'data', 'embedding_features'


class Features(NamedTuple):
  """A run whose embeddings are features of another's items.

  Attributes:
    data: its dataset.
    run_dir: where it is trained.
  """

  data: pipeline.Dataset
  run_dir: pathlib.Path


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
      self,
      config: config_lib.Config,
      roles: Mapping[str, str],
      features: Features | None = None,
  ) -> pipeline.Dataset:
    """Returns the dataset of a configuration.

    Args:
      config: of a run.
      roles: of features whose role is not that of the schema, by name.
      features: made of another run's embeddings, beside those of the schema.

    Raises:
      InputError: if it is not prepared and cannot be.
    """
    path, data_dir = pipeline.schema_path(config.data.schema), self._data_dir
    if features:
      path, data_dir = self._join(features, path)
    schema = with_roles(schema_file.load(path), roles)
    key = run_lib.digest(
        dataclasses.asdict(dataclasses.replace(schema, path='')),
        dataclasses.asdict(dataclasses.replace(config.data, schema='')),
        dataclasses.asdict(config.protocol),
        *([features.run_dir.name] if features else []),
    )
    if key not in self._loaded:
      directory = self._root / key
      self._prepare(config, schema, data_dir, directory)
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

  def _join(
      self, features: Features, schema: pathlib.Path
  ) -> tuple[pathlib.Path, pathlib.Path]:
    """Returns a schema with such features, and the folder of its files."""
    contents = dataclasses.replace(schema_file.load(schema), path='')
    key = run_lib.digest(features.run_dir.name, dataclasses.asdict(contents))
    output = self._root.parent / _FEATURES_DIR / key
    path = output / writing.SCHEMA_FILE
    if path.exists():  # It is written last.
      if self._data_dir:
        raw_links.write(self._data_dir.resolve(), output)
    else:
      data_dir = self._require(output, schema.stem)
      with progress.bar('refresh') as update:
        writing.write(
            features.data,
            features.run_dir,
            schema=schema,
            data_dir=data_dir,
            output=output,
            on_progress=update,
        )
    return path, output

  def _prepare(self, config, schema, data_dir, directory):
    if self._data_dir is None and directory.exists():
      return
    raw = self._require(directory, schema.name)
    with progress.bar('prepare') as update:
      prepare_lib.prepare(
          schema,
          data_dir or raw,
          directory,
          data=config.data,
          protocol=config.protocol,
          on_progress=lambda stage, done, total: update(done, total),
      )

  def _require(self, missing: pathlib.Path, name: str) -> pathlib.Path:
    """Returns the folder of raw files, which something is missing without."""
    if self._data_dir is None:
      raise errors.InputError(
          f'{missing}: {name} is not prepared here under these settings; pass'
          ' --data_dir, the folder of its raw files, which later calls with'
          ' this workdir do without'
      )
    return self._data_dir


def with_roles(
    schema: schema_lib.Schema, roles: Mapping[str, str]
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
