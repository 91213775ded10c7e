"""Statistics of numeric features over training rows."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from limaml_jax import cells


class Moments(NamedTuple):
  """Of some numbers, so that two sets of them can be taken together.

  Attributes:
    weight: their sum of weights.
    mean: weighted.
    squares: weighted sum of squared distances from the mean.
  """

  weight: float
  mean: float
  squares: float

  @property
  def mean_and_std(self) -> tuple[float, float]:
    """As the network standardizes by them.

    0 and 1 where training rows have no values, and a deviation of 1 where all
    values are alike.
    """
    if not self.weight:
      return 0.0, 1.0
    variance = self.squares / self.weight
    return self.mean, variance**0.5 if variance > 1e-12 else 1.0


NOTHING = Moments(0.0, 0.0, 0.0)


def numbers(column: pa.ChunkedArray, transform: str) -> np.ndarray:
  """Returns the values of a column, transformed, NaN where empty, float64."""
  return cells.transformed(column.to_numpy(), transform)


def moments(values: np.ndarray, weights: np.ndarray | None = None) -> Moments:
  """Returns the moments of the cells that are not NaN.

  Args:
    values: of the feature, NaN where missing, [cells].
    weights: training rows that each cell stands for, [cells]; one each when
      left out.
  """
  if weights is None:
    weights = np.ones(len(values))
  present = ~np.isnan(values) & (weights > 0)
  values, weights = values[present], weights[present]
  if not len(values):
    return NOTHING
  mean = float(np.average(values, weights=weights))
  squares = float(np.sum(weights * (values - mean) ** 2))
  return Moments(float(np.sum(weights)), mean, squares)


def merge(one: Moments, other: Moments) -> Moments:
  """Returns the moments of both sets together (Chan et al. 1979)."""
  weight = one.weight + other.weight
  if not one.weight or not other.weight:
    return one if one.weight else other
  distance = other.mean - one.mean
  return Moments(
      weight=weight,
      mean=one.mean + distance * other.weight / weight,
      squares=(
          one.squares
          + other.squares
          + distance**2 * one.weight * other.weight / weight
      ),
  )
