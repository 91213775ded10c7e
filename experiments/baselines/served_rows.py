"""Rows to score: the same, in the same order, as a replay of a run leaves."""

import numpy as np

from experiments import pipeline
from limaml_jax.data import dataset
from limaml_jax.evaluation import replay


def list_rows(data: pipeline.Dataset) -> replay.TestRows:
  """Lists the test events, one refresh after another."""
  rows = replay.test_rows(data.table, data.info)
  order = np.argsort(rows.day, kind='stable')
  return replay.TestRows(*(column[order] for column in rows))


def refresh_times(data: pipeline.Dataset) -> np.ndarray:
  """Returns the refresh that precedes each event, UTC seconds, [events].

  Training events have one every `refresh_seconds` too. Where each entity has a
  cutoff of its own, its events before that are as fresh as they can be.
  """
  table, info = data.table, data.info
  times = table.timestamps
  if info.cutoffs:
    first, period = info.cutoffs[0], info.refresh_seconds
    if not period:
      return np.where(times < first, times, first)
    return times - (times - first) % period
  cutoffs = replay.entity_cutoffs(table)[dataset.event_owners(table)]
  return np.minimum(times, cutoffs)
