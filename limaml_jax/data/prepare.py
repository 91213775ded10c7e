"""Prepares a dataset: from a schema and raw files to a directory of tasks.

The directory appears whole or not at all: everything is written beside it and
renamed at the end. What stood there before stays intact whatever fails.
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import logging
import pathlib
import tempfile
from typing import NamedTuple

from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax.data import dataset
from limaml_jax.data.engines import duckdb_engine
from limaml_jax.data.engines import start
from limaml_jax.data.log import raw_log
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import schema_file
from limaml_jax.data.tasks import encoding as encoding_lib
from limaml_jax.data.tasks import event_runs
from limaml_jax.data.tasks import fingerprint
from limaml_jax.data.tasks import items
from limaml_jax.data.tasks import log_reader
from limaml_jax.data.tasks import output_directory
from limaml_jax.data.tasks import protocol as protocol_lib
from limaml_jax.data.tasks import task_builder
from limaml_jax.data.tasks import transform

_LOGGER = logging.getLogger(__name__)

# Told the stage, and how many of how many of its steps are done.
Progress = Callable[[str, int, int], None]


class _Asked(NamedTuple):
  """What is to be made of what the files hold."""

  schema: schema_lib.Schema
  data: config_lib.DataConfig
  protocol: config_lib.ProtocolConfig
  max_reject_fraction: float
  kept: encoding_lib.Encoding | None

  def hash(self, paths, data_dir) -> str:
    """Returns `DatasetInfo.request`."""
    every_file = [path for found in paths.values() for path in found]
    return fingerprint.of_request(
        self.schema,
        fingerprint.of_files(every_file, data_dir),
        data=self.data,
        protocol=self.protocol,
        max_reject_fraction=self.max_reject_fraction,
        encoding=self.kept.fingerprint if self.kept else '',
    )


def prepare(
    schema: str | pathlib.Path | schema_lib.Schema,
    data_dir: str | pathlib.Path,
    output_dir: str | pathlib.Path,
    *,
    data: config_lib.DataConfig,
    protocol: config_lib.ProtocolConfig,
    files: Sequence[str] | None = None,
    engine: str = 'duckdb',
    spark_master: str = start.DEFAULT_MASTER,
    memory_limit: str = duckdb_engine.MEMORY_LIMIT,
    max_reject_fraction: float = 0.01,
    encoding_of: str | pathlib.Path | None = None,
    on_progress: Progress | None = None,
) -> dataset.DatasetInfo:
  """Makes the dataset, unless it is there already.

  Files that an earlier dataset in the same place was made of, by the same
  schema, are not read again.

  Args:
    schema: of the log, or its TOML file.
    data_dir: that the files of the schema are relative to.
    output_dir: receives the dataset; an earlier one is replaced at the end.
    data: task entity and smallest count of a category.
    protocol: which events train and which are tested.
    files: globs of the log's files, instead of those that the schema names.
    engine: 'duckdb' or 'spark', which reads, checks and orders the log.
    spark_master: where Spark runs.
    memory_limit: of DuckDB, such as '2GB'; what needs more goes to disk.
    max_reject_fraction: of the rows of a table that may fail its checks.
    encoding_of: directory of an earlier dataset, `output_dir` itself included:
      features are encoded as there, so that a model trained on it reads the
      new one. When left out, the encoding is fitted to the training rows.
    on_progress: told of each step, for people who wait.

  Returns:
    Facts of the dataset.

  Raises:
    InputError: for whatever is wrong with schema, settings or files.
  """
  progress = on_progress or (lambda stage, done, total: None)
  data_dir, output_dir = pathlib.Path(data_dir), pathlib.Path(output_dir)
  schema = _load_schema(schema, files)
  protocol_lib.check(protocol)
  _check_settings(data, max_reject_fraction)
  paths = raw_log.find_files(
      schema, raw_log.find_entity(schema, data.task_entity), data_dir
  )
  # First of all mends what a killed run left, where `encoding_of` may be.
  earlier = output_directory.find_earlier(output_dir)
  kept = _load_encoding(encoding_of, schema, data)
  asked = _Asked(schema, data, protocol, max_reject_fraction, kept)
  request = asked.hash(paths, data_dir)
  if earlier and earlier.request == request:
    _LOGGER.info('%s: already holds this dataset', output_dir)
    return earlier
  with output_directory.replacing(output_dir) as directory:
    with (
        tempfile.TemporaryDirectory(dir=directory) as scratch,
        start.Engines(
            engine, scratch, memory_limit, spark_master
        ) as engines,
    ):
      reader = log_reader.LogReader(
          schema, data, protocol, data_dir, engines, max_reject_fraction
      )
      found = reader.read(
          paths,
          directory.absolute(),
          event_runs.Runs.load(output_dir),
          scratch=pathlib.Path(scratch).absolute(),
          on_table=lambda done, total: progress('read', done, total),
      )
      prepared = _transform(found, asked, progress)
      contents = _write(prepared, directory, progress)
    info = _describe(prepared, asked, request, *contents)
    _write_facts(info, directory)
  return info


def _load_schema(schema, files):
  """Reads the schema, with other files of the log if there are any."""
  if not isinstance(schema, schema_lib.Schema):
    schema = schema_file.load(schema)
  if files is None:
    return schema
  interactions = dataclasses.replace(schema.interactions, files=tuple(files))
  return dataclasses.replace(schema, interactions=interactions)


def _load_encoding(directory, schema, data):
  """Loads the encoding to keep, if there is one, and checks that it fits."""
  if directory is None:
    return None
  kept = encoding_lib.load(directory)
  encoding_lib.check(kept, schema, data.task_entity)
  return kept


def _transform(found, asked, progress):
  progress('transform', 0, 1)
  prepared = transform.transform(
      found.ordered,
      asked.schema,
      found.features,
      found.sides,
      data=asked.data,
      protocol=asked.protocol,
      kept=asked.kept,
  )
  progress('transform', 1, 1)
  return prepared


def _check_settings(data, max_reject_fraction):
  if not 0 <= max_reject_fraction <= 1:
    raise errors.InputError(
        f'--max_reject_fraction={max_reject_fraction}: set 0 to 1'
    )
  if data.max_events_per_entity < 0:
    raise errors.InputError(
        f'data.max_events_per_entity: is {data.max_events_per_entity}; set 0'
        ' for all, or more'
    )


def _write(prepared, directory, progress) -> tuple[str, str]:
  """Writes all but the facts; returns the hash of it, and vocabularies."""
  total = len(prepared.index.entity_keys)

  def report(blocks):
    for block in blocks:
      yield block
      progress('write', block.stop, total)

  contents = fingerprint.Contents()
  task_builder.write(
      report(contents.add_blocks(prepared.blocks())),
      prepared.specs,
      directory / dataset.TASKS_DIR,
  )
  keys, features = prepared.items()
  items.save_items(directory, keys, features)
  vocabularies = prepared.vocabularies()
  (directory / dataset.VOCABULARIES_FILE).write_text(
      vocabularies, encoding='utf-8'
  )
  whole = contents.finish(
      prepared.specs,
      prepared.index.split,
      vocabularies=vocabularies,
      item_keys=keys,
      item_features=features,
  )
  return whole, vocabularies


def _describe(prepared, asked, request, contents, vocabularies):
  index = prepared.index
  names = {
      'entity_type': asked.data.task_entity,
      'entity_feature': asked.schema.entities[asked.data.task_entity].key,
      'item_feature': asked.schema.interactions.item,
  }
  return dataset.DatasetInfo(
      **names,
      name=asked.schema.name,
      num_interactions=len(index.timestamps),
      num_entities=len(index.entity_keys),
      num_train=int(index.is_train.sum()),
      label_mean=prepared.label_mean,
      protocol=protocol_lib.describe(asked.protocol),
      cutoffs=index.split.cutoffs,
      test_end=index.split.test_end,
      refresh_seconds=index.split.refresh_seconds,
      features=prepared.specs,
      request=request,
      fingerprint=contents,
      encoding=fingerprint.of_encoding(
          prepared.specs, vocabularies, **names
      ),
  )


def _write_facts(info, directory):
  for path in directory.rglob('*'):
    output_directory.sync(path)
  # Last, for it says that the rest is there.
  (directory / dataset.DATASET_FILE).write_text(info.to_json())
  output_directory.sync(directory / dataset.DATASET_FILE)
