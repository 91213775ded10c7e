"""Holdout: the latest training events, which judge a run and never train it."""

import numpy as np

from limaml_jax.data import dataset
from limaml_jax.data import episodes


def split(
    table: dataset.TaskTable,
    index: episodes.EpisodeIndex,
    fraction: float,
) -> tuple[episodes.EpisodeIndex, episodes.EpisodeIndex]:
  """Parts episodes by one moment: queries before it train, later ones judge.

  The moment leaves such a fraction of the query rows at or after it. An
  episode whose query is on both sides of it is in neither part.

  Args:
    table: all tasks.
    index: all training episodes.
    fraction: of the query rows, in (0, 1).

  Returns:
    The episodes that train, and those that judge.
  """
  sizes = index.query_stop - index.query_start
  starts = np.repeat(index.query_start - np.cumsum(sizes) + sizes, sizes)
  times = np.sort(table.timestamps[starts + np.arange(starts.size)])
  if not times.size:
    return index, index
  moment = times[int((1.0 - fraction) * times.size)]
  first = table.timestamps[index.query_start]
  last = table.timestamps[index.query_stop - 1]
  return (
      index.take(np.flatnonzero(last < moment)),
      index.take(np.flatnonzero(first >= moment)),
  )
