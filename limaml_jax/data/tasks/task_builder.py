"""Task builder: writes tasks by the block as ArrayRecord through TFDS.

Blocks go to disk as they come, so tasks need not fit into memory, and no
TensorFlow is needed to write or to read. `tfds.builder_from_directory` reads
the result without this code.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import pathlib
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from limaml_jax import types
from limaml_jax.data.tasks import task_blocks
from limaml_jax.data.tasks import task_layout

SPLIT = 'tasks'
_NAME = 'limaml_tasks'
_VERSION = '3.0.0'
_FORMAT = 'array_record'
_BLOCKS_PER_SHARD = 1024


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
  writer = tfds.core.SequentialWriter(
      _info(specs, directory), _BLOCKS_PER_SHARD, file_format=_FORMAT
  )
  writer.initialize_splits([SPLIT])
  for block in blocks:
    writer.add_examples({SPLIT: [_example(block, specs)]})
  writer.close_all()


def _info(specs, directory) -> tfds.core.DatasetInfo:
  """Describes an example: some entities with all of their events."""
  features = {
      'entity_keys': tfds.features.Tensor(shape=(None,), dtype=np.object_),
      'num_events': _rows_of(np.int64),
      'num_history': _rows_of(np.int64),
      'num_train': _rows_of(np.int64),
      'timestamps': _rows_of(np.int64),
      'labels': _rows_of(np.float32),
      'weights': _rows_of(np.float32),
  }
  columns = []
  for key, grouped in task_layout.matrices(specs).items():
    widths = [(spec.name, task_layout.width(spec)) for spec in grouped]
    columns.append(f'{key}: {widths}')
    features[key] = _rows_of(
        np.int32 if key.endswith('indices') else np.float32,
        sum(width for _, width in widths),
    )
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
          ' Columns (name, width) of the matrices:\n' + '\n'.join(columns)
      ),
      features=tfds.features.FeaturesDict(features),
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
      'entity_keys': block.entity_keys.astype(object),
      'num_events': block.num_events,
      'num_history': block.num_history,
      'num_train': block.num_train,
      'timestamps': block.timestamps,
      'labels': block.labels,
      'weights': block.weights,
  } | {
      key: task_layout.pack(features, grouped)
      for key, grouped in task_layout.matrices(specs).items()
  }
