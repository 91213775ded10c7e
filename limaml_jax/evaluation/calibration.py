"""Calibration curve: what share of label 1 stands behind a score."""

from typing import NamedTuple

import numpy as np


class CalibrationCurve(NamedTuple):
  """Rows cut by score into bins of equal numbers of rows.

  Attributes:
    predicted: mean score of each bin, ascending, [bins].
    observed: mean label of each bin, [bins].
    num_rows: of each bin, [bins].
  """

  predicted: np.ndarray
  observed: np.ndarray
  num_rows: np.ndarray


def calibration_curve(
    scores: np.ndarray, labels: np.ndarray, *, num_bins: int = 10
) -> CalibrationCurve:
  """Returns the curve of rows [n]; with fewer rows than bins, of n bins."""
  order = np.argsort(scores, kind='stable')
  num_bins = min(num_bins, order.size)
  bins = np.array_split(order, max(num_bins, 1))
  bins = [rows for rows in bins if rows.size]
  return CalibrationCurve(
      predicted=np.array([np.mean(scores[rows]) for rows in bins]),
      observed=np.array([np.mean(labels[rows]) for rows in bins]),
      num_rows=np.array([rows.size for rows in bins], np.int64),
  )
