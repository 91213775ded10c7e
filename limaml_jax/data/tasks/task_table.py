"""Task table: reads the stored tasks of a prepared dataset into memory."""

import pathlib

import numpy as np
import tensorflow_datasets as tfds

from limaml_jax import errors
from limaml_jax import types
from limaml_jax.data import dataset
from limaml_jax.data.tasks import task_builder
from limaml_jax.data.tasks import task_layout


def load(directory: str | pathlib.Path) -> dataset.TaskTable:
  """Reads all tasks of the prepared dataset in `directory`.

  Raises:
    InputError: if there is no whole dataset, or its tasks are torn.
  """
  info = dataset.load_info(directory)
  path = pathlib.Path(directory) / dataset.TASKS_DIR
  try:
    stored = _read(path)
    keys = task_layout.split_texts(
        stored.pop('entity_keys'), stored.pop('key_lengths')
    )
    targets = stored.pop('targets')
  except Exception as error:  # The storage library raises whatever it likes.
    reason = str(error).splitlines()[0] if str(error) else repr(error)
    raise errors.InputError(
        f'{path}: tasks cannot be read: {reason}; delete {directory} and run'
        ' `python -m experiments.prepare` again'
    ) from error
  features: dict[str, types.HostFeatures] = {'entity': {}, 'event': {}}
  for key, specs in task_layout.matrices(info.features).items():
    owner = key.split('_')[0]
    # Taken out one by one, so that no array is held twice for long.
    features[owner] |= task_layout.unpack(stored.pop(key), specs)
  return dataset.TaskTable(
      entity_keys=keys,
      offsets=np.concatenate([[0], np.cumsum(stored['num_events'])]),
      num_history=stored['num_history'],
      num_train=stored['num_train'],
      timestamps=stored['timestamps'],
      labels=stored['labels'],
      targets=targets,
      weights=stored['weights'],
      entity_features=features['entity'],
      event_features=features['event'],
  )


def _read(path):
  """Returns the stored blocks, joined."""
  source = tfds.builder_from_directory(str(path)).as_data_source(
      split=task_builder.SPLIT
  )
  parts: dict[str, list[np.ndarray]] = {}
  for number in range(len(source)):
    block: dict[str, np.ndarray] = source[number]  # pyrefly: ignore
    for key, values in block.items():
      parts.setdefault(key, []).append(values)
  return {key: np.concatenate(parts.pop(key)) for key in list(parts)}
