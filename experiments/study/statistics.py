"""Statistics: metrics over seeds, and paired intervals over entities.

A replicate draws entities and seeds with replacement, the same ones for all
runs, and averages over the seeds that it drew. So an interval tells what other
entities and other seeds would have shown of the mean over as many seeds.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from limaml_jax.evaluation import bootstrap
from limaml_jax.evaluation import comparison
from limaml_jax.evaluation import scores as scores_lib

_NUM_REPLICATES = 500
_LEVEL = 0.95
_SEED = 0

# Scores of each label, one part per seed.
ScoresByLabel = Mapping[str, Sequence[scores_lib.Scores]]


class Figure(NamedTuple):
  """A mean over seeds; None where undefined.

  Attributes:
    value: the mean.
    interval: 95 %, over entities and seeds.
    seeds: the value under each seed.
  """

  value: float | None
  interval: bootstrap.Interval | None
  seeds: tuple[float | None, ...]


class Measured:
  """Metrics of several runs on the same rows, ready to be compared."""

  def __init__(
      self,
      scores: ScoresByLabel,
      mask: np.ndarray | None = None,
      on_progress: Callable[[int, int], None] = lambda done, total: None,
  ):
    """Measures all runs under all draws.

    Args:
      scores: of runs on the same rows in the same order.
      mask: of the rows that count, [n] bool; all of them when left out.
      on_progress: told of each run.

    Raises:
      InputError: if two do not hold the same rows.
    """
    every = [part for parts in scores.values() for part in parts]
    for other in every[1:]:
      bootstrap.refuse_different_rows(every[0], other)
    rows = every[0]
    mask = np.ones(rows.entity.size, bool) if mask is None else mask
    entities, entity_of_row = np.unique(rows.entity[mask], return_inverse=True)
    self.num_rows = int(mask.sum())
    self.num_entities = int(entities.size)
    rng = np.random.default_rng(_SEED)
    draws = list(bootstrap.draws(entities.size, rng, _NUM_REPLICATES))
    num_seeds = max(map(len, scores.values()), default=0)
    # Places in [0, 1), as a run may lack a seed.
    seeds = rng.random((len(draws), num_seeds))
    self._values, self._replicates = {}, {}
    for done, (label, parts) in enumerate(scores.items()):
      summed = [
          comparison.Summed(
              scores_lib.select(part, mask), entity_of_row, entities.size
          )
          for part in parts
      ]
      # [seeds, metrics], [replicates, metrics]
      ones = np.ones(entities.size)
      self._values[label] = np.array([one.values(ones) for one in summed])
      self._replicates[label] = np.array([
          _mean_over(summed, draw, drawn)
          for draw, drawn in zip(draws, seeds, strict=True)
      ]).reshape(-1, len(comparison.METRICS))
      on_progress(done + 1, len(scores))

  def figure(self, label: str, metric: str = 'roc_auc') -> Figure:
    """Returns a metric of one run."""
    column = comparison.METRICS.index(metric)
    return _figure(
        self._values[label][:, column], self._replicates[label][:, column]
    )

  def difference(
      self, first: str, second: str, metric: str = 'roc_auc'
  ) -> Figure:
    """Returns a metric of the first run minus that of the second."""
    column = comparison.METRICS.index(metric)
    return _figure(
        _minus(self._values, first, second)[:, column],
        _minus(self._replicates, first, second)[:, column],
    )


def _mean_over(
    summed: Sequence[comparison.Summed], draw: np.ndarray, seeds: np.ndarray
) -> np.ndarray:
  """Returns the metrics under a draw, over the seeds drawn, [metrics]."""
  counts = np.bincount(
      (seeds * len(summed)).astype(int), minlength=len(summed)
  )
  return sum(
      count * summed[seed].values(draw)
      for seed, count in enumerate(counts)
      if count
  ) / counts.sum()  # fmt: skip


def _minus(values, first, second):
  return values[first] - values[second]


def _figure(values: np.ndarray, replicates: np.ndarray) -> Figure:
  mean = float(np.mean(values)) if values.size else np.nan
  return Figure(
      value=None if np.isnan(mean) else mean,
      interval=bootstrap.central_interval(replicates, _LEVEL),
      seeds=tuple(None if np.isnan(v) else float(v) for v in values),
  )
