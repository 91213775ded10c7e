"""Statistics of numeric features over training rows."""

import numpy as np


def mean_and_std(
    values: np.ndarray, weights: np.ndarray
) -> tuple[float, float]:
  """Returns mean and standard deviation of the cells that are not NaN.

  Args:
    values: of the feature, NaN where missing, [cells].
    weights: training rows that each cell stands for, [cells].

  Returns:
    Both as the network standardizes by them: 0 and 1 where training rows have
    no values, and a deviation of 1 where all values are alike.
  """
  present = ~np.isnan(values) & (weights > 0)
  values, weights = values[present], weights[present]
  if not len(values):
    return 0.0, 1.0
  mean = float(np.average(values, weights=weights))
  variance = float(np.average((values - mean) ** 2, weights=weights))
  return mean, variance**0.5 if variance > 1e-12 else 1.0
