"""Task builder: writes one example per entity as ArrayRecord through TFDS.

No TensorFlow is needed to write or to read. `tfds.builder_from_directory`
reads the result without this class.
"""

from collections.abc import Callable
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
from limaml_jax.data import dataset
from limaml_jax.data.tasks import task_layout

SPLIT = 'tasks'
_FORMAT = 'array_record'


class LimamlTasks(tfds.core.GeneratorBasedBuilder):
  """Tasks of one prepared dataset, in the order of their entity keys."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'First layout.'}
  # Nothing is downloaded, so there are no checksums to find beside the code;
  # the search for them imports a package that TFDS does not require.
  code_path = None

  def __init__(
      self,
      table: dataset.TaskTable,
      specs: Sequence[types.FeatureSpec],
      *,
      on_task: Callable[[int, int], None] = lambda done, total: None,
      **kwargs,
  ):
    """Takes what to write; the rest goes to the TFDS builder."""
    self._table = table
    self._specs = specs
    self._on_task = on_task
    super().__init__(**kwargs)

  def _info(self) -> tfds.core.DatasetInfo:
    tensor = tfds.features.Tensor
    features = {
        'entity_key': tfds.features.Text(),
        'num_history': np.int64,
        'num_train': np.int64,
        'timestamps': tensor(shape=(None,), dtype=np.int64),
        'labels': tensor(shape=(None,), dtype=np.float32),
    }
    columns = []
    for key, specs in task_layout.matrices(self._specs).items():
      widths = [(spec.name, task_layout.width(spec)) for spec in specs]
      columns.append(f'{key}: {widths}')
      total = sum(width for _, width in widths)
      features[key] = tensor(
          shape=(total,) if key.startswith('entity') else (None, total),
          dtype=np.int32 if key.endswith('indices') else np.float32,
      )
    return tfds.core.DatasetInfo(
        builder=self,
        description=(
            'Histories of interactions, one example per entity, ascending in'
            ' time. Columns (name, width) of the matrices:\n'
            + '\n'.join(columns)
        ),
        features=tfds.features.FeaturesDict(features),
        # Entities are sorted by key already; shuffling is the reader's.
        disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    return {SPLIT: self._generate_examples()}

  def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
    table = self._table
    total = len(table.entity_keys)
    features = table.entity_features | table.event_features
    matrices = {
        key: task_layout.pack(features, specs)
        for key, specs in task_layout.matrices(self._specs).items()
    }
    for index in range(total):
      rows = slice(table.offsets[index], table.offsets[index + 1])
      yield index, {
          'entity_key': str(table.entity_keys[index]),
          'num_history': table.num_history[index],
          'num_train': table.num_train[index],
          'timestamps': table.timestamps[rows],
          'labels': table.labels[rows],
      } | {
          key: matrix[index if key.startswith('entity') else rows]
          for key, matrix in matrices.items()
      }
      if index % 500 == 499 or index + 1 == total:
        self._on_task(index + 1, total)


def write(
    table: dataset.TaskTable,
    specs: Sequence[types.FeatureSpec],
    directory: str | pathlib.Path,
    *,
    on_task: Callable[[int, int], None] = lambda done, total: None,
) -> None:
  """Writes the tasks into `directory`, which must not exist yet.

  Args:
    table: the tasks.
    specs: of their features.
    directory: receives the files.
    on_task: told now and then how many of how many tasks are written.
  """
  directory = pathlib.Path(directory)
  scratch = directory.with_name(f'{directory.name}.scratch')
  tfds.disable_progress_bar()
  builder = LimamlTasks(
      table, specs, on_task=on_task, data_dir=scratch, file_format=_FORMAT
  )
  # It prints to standard output, which belongs to the binary.
  with contextlib.redirect_stdout(io.StringIO()):
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(try_download_gcs=False),
        file_format=_FORMAT,
    )
  pathlib.Path(builder.data_path).rename(directory)
  shutil.rmtree(scratch)
