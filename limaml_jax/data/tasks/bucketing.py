"""Bucketing: numbers to rows of an embedding table, by what they lie between.

Here the boundaries are found; `cells.bucket_rows` looks numbers up.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class ValueCounts(NamedTuple):
  """How often each value of a column occurs.

  Attributes:
    values: distinct ones, ascending, [values] float32.
    totals: their training rows, above 0, [values] int64.
  """

  values: np.ndarray
  totals: np.ndarray


def count(values: np.ndarray, weights: np.ndarray | None = None) -> ValueCounts:
  """Counts the cells that are not NaN.

  Args:
    values: of the feature, NaN where missing, [cells].
    weights: training rows that each cell stands for, [cells] int64; one each
      when left out.
  """
  if weights is None:
    weights = np.ones(len(values), np.int64)
  present = ~np.isnan(values) & (weights > 0)
  return _add_up(values[present].astype(np.float32), weights[present])


def merge(parts: Sequence[ValueCounts]) -> ValueCounts:
  """Returns the counts of all parts together."""
  if not parts:
    return count(np.zeros(0))
  return _add_up(
      np.concatenate([part.values for part in parts]),
      np.concatenate([part.totals for part in parts]),
  )


def _add_up(values, weights):
  distinct, position = np.unique(values, return_inverse=True)
  totals = np.zeros(len(distinct), np.int64)
  np.add.at(totals, position, weights)
  return ValueCounts(distinct, totals)


def quantiles(found: ValueCounts, num_buckets: int) -> tuple[float, ...]:
  """Returns boundaries of buckets that hold as equal shares as values allow.

  Equal values are never parted: boundary k is the value below which there are
  most nearly k / num_buckets of all rows. Boundaries that coincide are one.
  """
  if len(found.values) < 2:
    return ()
  below = np.cumsum(found.totals)[:-1] * num_buckets
  wanted = np.arange(1, num_buckets) * found.totals.sum()
  after = np.searchsorted(below, wanted).clip(0, len(below) - 1)
  before = np.maximum(after - 1, 0)
  is_nearer = wanted - below[before] <= below[after] - wanted
  chosen = np.unique(np.where(is_nearer, before, after))
  return tuple(found.values[1:][chosen].tolist())
