"""Task builder: writes tasks by the block as ArrayRecord through TFDS.

No TensorFlow is needed to write or to read. `tfds.builder_from_directory`
reads the result without this class.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import io
import pathlib
import shutil
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from limaml_jax import types
from limaml_jax.data.tasks import task_blocks
from limaml_jax.data.tasks import task_layout

SPLIT = 'tasks'
_FORMAT = 'array_record'


class LimamlTasks(tfds.core.GeneratorBasedBuilder):
  """Tasks of one prepared dataset, in the order of their entity keys."""

  VERSION = tfds.core.Version('2.0.0')
  RELEASE_NOTES = {
      '2.0.0': 'An example is a block of entities.',
      '1.0.0': 'An example is an entity.',
  }
  # Nothing is downloaded, so there are no checksums to find beside the code;
  # the search for them imports a package that TFDS does not require.
  code_path = None

  def __init__(
      self,
      blocks: Iterator[task_blocks.TaskBlock],
      specs: Sequence[types.FeatureSpec],
      **kwargs,
  ):
    """Takes what to write; the rest goes to the TFDS builder."""
    self._blocks = blocks
    self._specs = specs
    super().__init__(**kwargs)

  def _info(self) -> tfds.core.DatasetInfo:
    def rows_of(dtype, *width):
      return tfds.features.Tensor(
          shape=(None, *width),
          dtype=dtype,
          encoding=tfds.features.Encoding.BYTES,
      )

    features = {
        'entity_keys': tfds.features.Tensor(shape=(None,), dtype=np.object_),
        'num_events': rows_of(np.int64),
        'num_history': rows_of(np.int64),
        'num_train': rows_of(np.int64),
        'timestamps': rows_of(np.int64),
        'labels': rows_of(np.float32),
    }
    columns = []
    for key, specs in task_layout.matrices(self._specs).items():
      widths = [(spec.name, task_layout.width(spec)) for spec in specs]
      columns.append(f'{key}: {widths}')
      features[key] = rows_of(
          np.int32 if key.endswith('indices') else np.float32,
          sum(width for _, width in widths),
      )
    return tfds.core.DatasetInfo(
        builder=self,
        description=(
            'Histories of interactions. An example is a block of entities, one'
            ' after another, each with num_events events that ascend in time.'
            ' Columns (name, width) of the matrices:\n' + '\n'.join(columns)
        ),
        features=tfds.features.FeaturesDict(features),
        # Entities are sorted by key already; shuffling is the reader's.
        disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    return {SPLIT: self._generate_examples()}

  def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, block in enumerate(self._blocks):
      features = block.entity_features | block.event_features
      yield number, {
          'entity_keys': block.entity_keys.astype(object),
          'num_events': block.num_events,
          'num_history': block.num_history,
          'num_train': block.num_train,
          'timestamps': block.timestamps,
          'labels': block.labels,
      } | {
          key: task_layout.pack(features, specs)
          for key, specs in task_layout.matrices(self._specs).items()
      }


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
  scratch = directory.with_name(f'{directory.name}.scratch')
  tfds.disable_progress_bar()
  builder = LimamlTasks(blocks, specs, data_dir=scratch, file_format=_FORMAT)
  # It prints to standard output, which belongs to the binary.
  with contextlib.redirect_stdout(io.StringIO()):
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(try_download_gcs=False),
        file_format=_FORMAT,
    )
  pathlib.Path(builder.data_path).rename(directory)
  shutil.rmtree(scratch)
