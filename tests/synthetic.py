"""A small world whose entities differ by taste: what adaptation should find."""

import numpy as np

from limaml_jax import types
from limaml_jax.data import dataset

NUM_ITEMS = 40
NUM_COLORS = 4
_START = 1_700_000_000
_GAP_SECONDS = 600


def make_tasks(
    *,
    num_entities: int = 60,
    max_events: int = 24,
    seed: int = 0,
    test_fraction: float = 0.25,
) -> tuple[dataset.TaskTable, dataset.DatasetInfo]:
  """Returns tasks in which each entity likes two of four colors of items.

  The taste is not in the entity's features: only its events tell. Numbers of
  events differ, from none of them trainable to `max_events`.
  """
  rng = np.random.default_rng(seed)
  counts = rng.integers(1, max_events + 1, num_entities)
  offsets = np.concatenate([[0], np.cumsum(counts)])
  entity = np.repeat(np.arange(num_entities), counts)
  items = rng.integers(0, NUM_ITEMS, entity.size)
  colors = items % NUM_COLORS
  likes = np.argsort(rng.random((num_entities, NUM_COLORS)), axis=1)[:, :2]
  liked = (likes[entity] == colors[:, None]).any(axis=1)
  labels = np.where(rng.random(entity.size) < 0.1, ~liked, liked)
  position = np.arange(entity.size) - offsets[entity]
  # Two events in three share their time with a neighbour.
  times = _START + _GAP_SECONDS * (position * 2 // 3)
  history = _strictly_earlier(counts, test_fraction)
  table = dataset.TaskTable(
      entity_keys=np.asarray([f'u{n:04d}' for n in range(num_entities)]),
      offsets=offsets,
      num_train=history,
      num_history=history,
      timestamps=times,
      labels=labels.astype(np.float32),
      targets=labels.astype(np.float32),
      weights=np.ones(entity.size, np.float32),
      entity_features={
          'user_id': np.where(history > 0, np.arange(num_entities) + 1, 0)
          .astype(np.int32),
          'age': rng.normal(40, 10, num_entities).astype(np.float32),
      },
      event_features={
          'item_id': (items + 1).astype(np.int32),
          'colors': np.stack([colors + 1, np.full_like(colors, -1)], 1)
          .astype(np.int32),
      },
  )
  return table, _make_info(table)


def _strictly_earlier(counts: np.ndarray, test_fraction: float) -> np.ndarray:
  """Leading events before the test ones, none of the same time as a test."""
  split = np.floor(counts * (1 - test_fraction)).astype(np.int64)
  tied = (split > 0) & (split * 2 // 3 == (split - 1) * 2 // 3)
  return split - tied


def _make_info(table: dataset.TaskTable) -> dataset.DatasetInfo:
  num_entities = len(table.entity_keys)
  make = types.FeatureSpec
  return dataset.DatasetInfo(
      name='synthetic',
      entity_type='user',
      entity_feature='user_id',
      item_feature='item_id',
      num_interactions=int(table.offsets[-1]),
      num_entities=num_entities,
      num_train=int(table.num_train.sum()),
      label_mean=0.5,
      protocol='by time inside each user',
      cutoffs=(),
      test_end=int(table.timestamps.max()) + 1,
      refresh_seconds=0,
      features=(
          make('user_id', 'categorical', 'entity', 'meta', num_entities + 1),
          make('age', 'numeric', 'entity', 'meta', mean=40.0, std=10.0),
          make('item_id', 'categorical', 'item', 'global', NUM_ITEMS + 1),
          make('colors', 'multi_hot', 'item', 'global', NUM_COLORS + 1, 2),
      ),
      request='synthetic',
      fingerprint='synthetic',
      encoding='synthetic',
  )
