"""The small world of `synthetic`, over days with a refresh on each."""

import dataclasses
import pathlib

import numpy as np

from experiments import pipeline
from limaml_jax import config as config_lib
from tests import synthetic
from tests.training import small_run

DAY = 86400
NUM_DAYS = 8
FIRST_TEST_DAY = 5
_START = 20_000 * DAY


def make(num_entities: int = 40, seed: int = 0) -> pipeline.Dataset:
  """Returns events over eight days, the last three of which are tested."""
  table, info = synthetic.make_tasks(num_entities=num_entities, seed=seed)
  rng = np.random.default_rng(seed)
  sizes = np.diff(table.offsets)
  entity = np.repeat(np.arange(sizes.size), sizes)
  times = _START + rng.integers(0, NUM_DAYS * 24, entity.size) * 3600
  times = times[np.lexsort((times, entity))]
  cutoffs = tuple(
      _START + day * DAY for day in range(FIRST_TEST_DAY, NUM_DAYS)
  )
  history = np.bincount(
      entity, weights=times < cutoffs[0], minlength=sizes.size
  ).astype(np.int64)
  ids = np.where(history > 0, np.arange(sizes.size) + 1, 0).astype(np.int32)
  table = table._replace(
      timestamps=times,
      num_history=history,
      num_train=history,
      entity_features=table.entity_features | {'user_id': ids},
  )
  info = dataclasses.replace(
      info,
      cutoffs=cutoffs,
      refresh_seconds=DAY,
      test_end=_START + NUM_DAYS * DAY,
      num_train=int(history.sum()),
      protocol='test: the last three days',
  )
  return pipeline.Dataset(pathlib.Path('world'), info, table)


def relabel(data: pipeline.Dataset, since: int) -> pipeline.Dataset:
  """Turns the labels of all events from a time on."""
  table = data.table
  labels = np.where(table.timestamps >= since, 1 - table.labels, table.labels)
  return data._replace(table=table._replace(labels=labels, targets=labels))


def make_config(**settings) -> config_lib.Config:
  """Returns settings of a run of seconds."""
  return small_run.make_config(**settings)
