"""Prepares a dataset: from a schema and raw files to a directory of tasks.

The directory appears whole or not at all: everything is written beside it and
renamed at the end. What stood there before stays intact whatever fails.
"""

from collections.abc import Callable
import json
import logging
import pathlib
import tempfile

from limaml_jax import config as config_lib
from limaml_jax.data import dataset
from limaml_jax.data.log import engine
from limaml_jax.data.log import raw_log
from limaml_jax.data.log import schema_file
from limaml_jax.data.log import sources
from limaml_jax.data.tasks import fingerprint
from limaml_jax.data.tasks import items
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
    memory_limit: str = engine.MEMORY_LIMIT,
    on_progress: Progress | None = None,
) -> dataset.DatasetInfo:
  """Makes the dataset, unless it is there already.

  Args:
    schema_path: TOML file.
    data_dir: that the files of the schema are relative to.
    output_dir: receives the dataset; an earlier one is replaced at the end.
    data: task entity and smallest count of a category.
    protocol: which events train and which are tested.
    memory_limit: of the engine, such as '2GB'; what needs more goes to disk.
    on_progress: told of each step, for people who wait.

  Returns:
    Facts of the dataset.

  Raises:
    InputError: for whatever is wrong with schema, settings or files.
  """
  progress = on_progress or (lambda stage, done, total: None)
  output_dir = pathlib.Path(output_dir)
  schema = schema_file.load(schema_path)
  protocol_lib.check(protocol)
  request = fingerprint.of_request(
      pathlib.Path(schema_path).read_bytes(),
      _files(schema, data_dir, data),
      pathlib.Path(data_dir),
      data=data,
      protocol=protocol,
  )
  earlier = output_directory.find_earlier(output_dir)
  if earlier and earlier.request == request:
    _LOGGER.info('%s: already holds this dataset', output_dir)
    return earlier
  with output_directory.replacing(output_dir) as directory:
    with (
        tempfile.TemporaryDirectory(dir=directory) as scratch,
        engine.connect(scratch, memory_limit) as connection,
    ):
      log = raw_log.open_log(
          connection,
          schema,
          data_dir,
          task_entity=data.task_entity,
          on_table=lambda done, total: progress('read', done, total),
      )
      progress('transform', 0, 1)
      prepared = transform.transform(
          connection,
          log,
          schema,
          data=data,
          protocol=protocol,
          scratch=pathlib.Path(scratch),
      )
      progress('transform', 1, 1)
      contents = _write_tasks(prepared, directory, progress)
    info = _describe(schema, data, protocol, prepared, request, contents)
    _write_facts(prepared, info, directory)
  return info


def _files(schema, data_dir, data):
  """Returns every file that the dataset is made of."""
  entity = raw_log.find_entity(schema, data.task_entity)
  found = sources.find_files(schema.interactions.files, data_dir)
  for side_table in (entity.side_table, schema.item.side_table):
    if side_table:
      found += sources.find_files(side_table.files, data_dir)
  return found


def _write_tasks(prepared, directory, progress):
  """Writes the tasks, and returns the hash of the whole dataset."""
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
  return contents.finish(prepared)


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


def _write_facts(prepared, info, directory):
  items.save_items(directory, *prepared.items())
  (directory / dataset.VOCABULARIES_FILE).write_text(
      json.dumps(prepared.vocabularies, ensure_ascii=False), encoding='utf-8'
  )
  for path in directory.rglob('*'):
    output_directory.sync(path)
  # Last, for it says that the rest is there.
  (directory / dataset.DATASET_FILE).write_text(info.to_json())
  output_directory.sync(directory / dataset.DATASET_FILE)
