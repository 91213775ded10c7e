"""Task builder: writes tasks by the block as ArrayRecord through TFDS.

Blocks go to disk as they come, so tasks need not fit into memory, and no
TensorFlow is needed to write or to read. `tfds.builder_from_directory` reads
the result without this code.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import pathlib
from typing import Any

from array_record.python import array_record_module
import numpy as np
import tensorflow_datasets as tfds

from limaml_jax import types
from limaml_jax.data.tasks import task_blocks
from limaml_jax.data.tasks import task_layout

SPLIT = 'tasks'
_NAME = 'limaml_tasks'
_VERSION = '5.0.0'
_SUFFIX = 'array_record'
_BLOCKS_PER_SHARD = 1024
# A record is read by itself. As small as at zstd's default level, in half the
# time.
_OPTIONS = 'group_size:1,snappy'


def write(
    blocks: Iterator[task_blocks.TaskBlock],
    specs: Sequence[types.FeatureSpec],
    directory: str | pathlib.Path,
) -> None:
  """Writes the tasks into `directory`, which must not exist yet.

  Args:
    blocks: the tasks.
    specs: of their features.
    directory: receives the files.
  """
  directory = pathlib.Path(directory)
  directory.mkdir()
  features = _features(specs)
  template = tfds.core.ShardedFileTemplate(
      data_dir=directory,
      dataset_name=_NAME,
      split=SPLIT,
      filetype_suffix=_SUFFIX,
      template='{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}',
  )
  shards = _Shards(template)
  for block in blocks:
    shards.add(features.serialize_example(_example(block, specs)))
  info = _info(features, specs, directory)
  info.set_file_format(tfds.core.FileFormat.ARRAY_RECORD)
  info.set_splits(tfds.core.splits.SplitDict([shards.finish()]))
  info.write_to_directory(directory)


class _Shards:
  """Files of at most _BLOCKS_PER_SHARD records, one after another."""

  def __init__(self, template: tfds.core.ShardedFileTemplate):
    self._template = template
    self._lengths: list[int] = []
    self._num_bytes = 0
    self._writer = None

  def add(self, record: bytes) -> None:
    """Appends a record."""
    writer = self._writer
    if writer is None or self._lengths[-1] == _BLOCKS_PER_SHARD:
      writer = self._start()
    writer.write(record)
    self._lengths[-1] += 1
    self._num_bytes += len(record)

  def finish(self) -> tfds.core.SplitInfo:
    """Closes the last file, and returns what was written."""
    self._close()
    return tfds.core.SplitInfo(
        name=SPLIT,
        shard_lengths=self._lengths,
        num_bytes=self._num_bytes,
        filename_template=self._template,
    )

  def _start(self):
    self._close()
    path = self._template.sharded_filepath(
        shard_index=len(self._lengths), num_shards=None
    )
    self._writer = array_record_module.ArrayRecordWriter(str(path), _OPTIONS)
    self._lengths.append(0)
    return self._writer

  def _close(self):
    if self._writer is not None:
      self._writer.close()


def _features(specs) -> tfds.features.FeaturesDict:
  """Describes an example: some entities with all of their events."""
  features = {
      'entity_keys': _rows_of(np.uint8),
      'key_lengths': _rows_of(np.int64),
      'num_events': _rows_of(np.int64),
      'num_history': _rows_of(np.int64),
      'num_train': _rows_of(np.int64),
      'timestamps': _rows_of(np.int64),
      'labels': _rows_of(np.float32),
      'targets': _rows_of(np.float32),
      'weights': _rows_of(np.float32),
  }
  for key, grouped in task_layout.matrices(specs).items():
    features[key] = _rows_of(
        np.int32 if key.endswith('indices') else np.float32,
        sum(map(task_layout.width, grouped)),
    )
  return tfds.features.FeaturesDict(features)


def _info(features, specs, directory) -> tfds.core.DatasetInfo:
  """Describes the dataset."""
  columns = [
      f'{key}: {[(spec.name, task_layout.width(spec)) for spec in grouped]}'
      for key, grouped in task_layout.matrices(specs).items()
  ]
  return tfds.core.DatasetInfo(
      builder=tfds.core.dataset_info.DatasetIdentity(
          name=_NAME,
          version=tfds.core.Version(_VERSION),
          data_dir=str(directory),
          module_name=__name__,
      ),
      description=(
          'Histories of interactions. An example is a block of entities, one'
          ' after another, each with num_events events that ascend in time.'
          ' Their keys are in UTF-8, key_lengths bytes each. Columns (name,'
          ' width) of the matrices:\n' + '\n'.join(columns)
      ),
      features=features,
  )


def _rows_of(dtype, *width):
  return tfds.features.Tensor(
      shape=(None, *width),
      dtype=dtype,
      encoding=tfds.features.Encoding.BYTES,
  )


def _example(block, specs) -> dict[str, Any]:
  features = block.entity_features | block.event_features
  return {
      'entity_keys': block.entity_keys,
      'key_lengths': block.key_lengths,
      'num_events': block.num_events,
      'num_history': block.num_history,
      'num_train': block.num_train,
      'timestamps': block.timestamps,
      'labels': block.labels,
      'targets': block.targets,
      'weights': block.weights,
  } | {
      key: task_layout.pack(features, grouped)
      for key, grouped in task_layout.matrices(specs).items()
  }
