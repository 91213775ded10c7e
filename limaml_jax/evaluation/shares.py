"""Shares: an evaluation divided among processes, and put together again.

To merge is exact. An entity belongs to one share, so that each test row is
scored once; its score depends on its own features and the embedding of its
entity alone, and that on the entity's events alone, whatever else is adapted
or scored beside it. What is merged are rows, in the order that one process
would have left them in: metrics, GAUC and intervals by entity among them, are
then computed from the very same numbers, where sums or means of the shares'
metrics would differ, and ROC-AUC could not be had at all.
"""

from collections.abc import Sequence

import numpy as np

from limaml_jax import errors
from limaml_jax.data import dataset
from limaml_jax.evaluation import replay
from limaml_jax.evaluation import scores as scores_lib


def owners(table: dataset.TaskTable, num_shares: int) -> np.ndarray:
  """Returns the share of each entity, [N]: all have about as many events."""
  by_size = np.argsort(-np.diff(table.offsets), kind='stable')
  there = np.arange(num_shares)
  # There and back, so that none has the larger one each time.
  turns = np.resize(np.concatenate([there, there[::-1]]), by_size.size)
  found = np.empty(by_size.size, np.int64)
  found[by_size] = turns
  return found


def merge(
    parts: Sequence[scores_lib.Scores],
    rows: replay.TestRows,
    owner: np.ndarray,
) -> scores_lib.Scores:
  """Returns the scores of all shares in the order of one replay.

  Args:
    parts: scores of each share.
    rows: all test rows.
    owner: share of each entity, [N].

  Raises:
    InputError: if they are not the scores of these rows.
  """
  order = np.argsort(rows.day, kind='stable')
  share = owner[rows.entity[order]]
  # Where each row, share by share, stands among the rows.
  place = np.argsort(share, kind='stable')
  found = scores_lib.concatenate(parts)
  expected = replay.select(rows, order[place])
  sizes = [part.entity.size for part in parts]
  if (
      sizes != np.bincount(share, minlength=len(parts)).tolist()
      or not np.array_equal(found.entity, expected.entity)
      or not np.array_equal(found.day, expected.day)
  ):
    raise errors.InputError(
        f'scores of {len(parts)} processes, {sizes} rows, are not those of the'
        f' {rows.event.size} test rows; give all processes the same --data, and'
        ' evaluate again'
    )
  return scores_lib.select(found, np.argsort(place))
