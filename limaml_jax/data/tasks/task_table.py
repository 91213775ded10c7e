"""Task table: reads the stored tasks of a prepared dataset into memory."""

import pathlib

import numpy as np
import tensorflow_datasets as tfds

from limaml_jax import errors
from limaml_jax import types
from limaml_jax.data import dataset
from limaml_jax.data.tasks import task_builder
from limaml_jax.data.tasks import task_layout

_CHUNK = 2000  # Tasks decoded at a time.


def load(directory: str | pathlib.Path) -> dataset.TaskTable:
  """Reads all tasks of the prepared dataset in `directory`.

  Raises:
    InputError: if there is no whole dataset, or its tasks are torn.
  """
  info = dataset.load_info(directory)
  path = pathlib.Path(directory) / dataset.TASKS_DIR
  try:
    chunks = _read(path)
  except Exception as error:  # The storage library raises whatever it likes.
    reason = str(error).splitlines()[0] if str(error) else repr(error)
    raise errors.InputError(
        f'{path}: tasks cannot be read: {reason}; delete {directory} and run'
        ' `python -m experiments.prepare` again'
    ) from error
  stored = {
      key: np.concatenate([chunk[key] for chunk in chunks])
      for key in chunks[0]
  }
  features: dict[str, types.HostFeatures] = {'entity': {}, 'event': {}}
  for key, specs in task_layout.matrices(info.features).items():
    owner = key.split('_')[0]
    features[owner] |= task_layout.unpack(stored[key], specs)
  return dataset.TaskTable(
      entity_keys=stored['entity_key'],
      offsets=np.concatenate([[0], np.cumsum(stored['num_events'])]),
      num_history=stored['num_history'],
      num_train=stored['num_train'],
      timestamps=stored['timestamps'],
      labels=stored['labels'],
      entity_features=features['entity'],
      event_features=features['event'],
  )


def _read(path):
  """Returns the stored tasks, some at a time, joined along their events."""
  source = tfds.builder_from_directory(str(path)).as_data_source(
      split=task_builder.SPLIT
  )
  chunks = []
  for start in range(0, len(source), _CHUNK):
    stop = min(start + _CHUNK, len(source))
    # Reads many at a time; unknown to the declared return type.
    tasks = source.__getitems__(range(start, stop))  # pyrefly: ignore
    chunk = {
        'entity_key': np.asarray(
            [task['entity_key'].decode() for task in tasks], np.str_
        ),
        'num_events': np.asarray(
            [len(task['labels']) for task in tasks], np.int64
        ),
    }
    for key in ('num_history', 'num_train'):
      chunk[key] = np.asarray([task[key] for task in tasks], np.int64)
    for key in tasks[0]:
      if key.startswith('entity_') and key != 'entity_key':
        chunk[key] = np.stack([task[key] for task in tasks])
      elif key not in chunk:
        chunk[key] = np.concatenate([task[key] for task in tasks])
    chunks.append(chunk)
  return chunks
