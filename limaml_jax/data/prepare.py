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

from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax.data import dataset
from limaml_jax.data.engines import duckdb_engine
from limaml_jax.data.engines import start
from limaml_jax.data.log import raw_log
from limaml_jax.data.log import schema_file
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


def prepare(
    schema_path: str | pathlib.Path,
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
    on_progress: Progress | None = None,
) -> dataset.DatasetInfo:
  """Makes the dataset, unless it is there already.

  Files that an earlier dataset in the same place was made of, by the same
  schema, are not read again.

  Args:
    schema_path: TOML file.
    data_dir: that the files of the schema are relative to.
    output_dir: receives the dataset; an earlier one is replaced at the end.
    data: task entity and smallest count of a category.
    protocol: which events train and which are tested.
    files: globs of the log's files, instead of those that the schema names.
    engine: 'duckdb' or 'spark', which reads, checks and orders the log.
    spark_master: where Spark runs.
    memory_limit: of DuckDB, such as '2GB'; what needs more goes to disk.
    max_reject_fraction: of the rows of a table that may fail its checks.
    on_progress: told of each step, for people who wait.

  Returns:
    Facts of the dataset.

  Raises:
    InputError: for whatever is wrong with schema, settings or files.
  """
  progress = on_progress or (lambda stage, done, total: None)
  data_dir, output_dir = pathlib.Path(data_dir), pathlib.Path(output_dir)
  schema = _load_schema(schema_path, files)
  protocol_lib.check(protocol)
  _check_settings(data, max_reject_fraction)
  paths = raw_log.find_files(
      schema, raw_log.find_entity(schema, data.task_entity), data_dir
  )
  every_file = [path for found in paths.values() for path in found]
  request = fingerprint.of_request(
      schema,
      fingerprint.of_files(every_file, data_dir),
      data=data,
      protocol=protocol,
      max_reject_fraction=max_reject_fraction,
  )
  earlier = output_directory.find_earlier(output_dir)
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
          schema, data, data_dir, engines, max_reject_fraction
      )
      found = reader.read(
          paths,
          directory.absolute(),
          event_runs.Runs.load(output_dir),
          scratch=pathlib.Path(scratch).absolute(),
          on_table=lambda done, total: progress('read', done, total),
      )
      prepared, contents = _make_tasks(
          found, schema, data, protocol, directory, progress
      )
    info = _describe(schema, data, protocol, prepared, request, contents)
    _write_facts(info, directory)
  return info


def _load_schema(path, files):
  """Reads the schema, with other files of the log if there are any."""
  schema = schema_file.load(path)
  if files is None:
    return schema
  interactions = dataclasses.replace(schema.interactions, files=tuple(files))
  return dataclasses.replace(schema, interactions=interactions)


def _make_tasks(found, schema, data, protocol, directory, progress):
  """Writes the tasks; returns them, and the hash of the whole dataset."""
  progress('transform', 0, 1)
  prepared = transform.transform(
      found.ordered,
      schema,
      found.features,
      found.sides,
      data=data,
      protocol=protocol,
  )
  progress('transform', 1, 1)
  return prepared, _write(prepared, directory, progress)


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


def _write(prepared, directory, progress):
  """Writes everything but the facts, and returns the hash of it all."""
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
  return contents.finish(
      prepared.specs,
      prepared.index.split,
      vocabularies=vocabularies,
      item_keys=keys,
      item_features=features,
  )


def _describe(schema, data, protocol, prepared, request, contents):
  index = prepared.index
  return dataset.DatasetInfo(
      name=schema.name,
      entity_type=data.task_entity,
      entity_feature=schema.entities[data.task_entity].key,
      item_feature=schema.interactions.item,
      num_interactions=len(index.timestamps),
      num_entities=len(index.entity_keys),
      num_train=int(index.is_train.sum()),
      label_mean=prepared.label_mean,
      protocol=protocol_lib.describe(protocol),
      cutoffs=index.split.cutoffs,
      test_end=index.split.test_end,
      refresh_seconds=index.split.refresh_seconds,
      features=prepared.specs,
      request=request,
      fingerprint=contents,
  )


def _write_facts(info, directory):
  for path in directory.rglob('*'):
    output_directory.sync(path)
  # Last, for it says that the rest is there.
  (directory / dataset.DATASET_FILE).write_text(info.to_json())
  output_directory.sync(directory / dataset.DATASET_FILE)
