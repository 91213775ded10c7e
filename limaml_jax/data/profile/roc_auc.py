"""ROC-AUC of one feature alone, whatever its kind."""

import numpy as np

# Rows of the label mean that a category's own rate starts from.
_PRIOR_ROWS = 10.0


def of_scores(scores: np.ndarray, labels: np.ndarray) -> float | None:
  """Returns ROC-AUC, a tied pair counting half, or None if a class is absent.

  Args:
    scores: [rows].
    labels: 0 or 1, [rows].
  """
  num_positive = int(np.sum(labels == 1))
  num_negative = labels.size - num_positive
  if not num_positive or not num_negative:
    return None
  _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
  ranks = np.cumsum(sizes) - (sizes - 1) / 2
  total = float(np.sum(ranks[group][labels == 1]))
  pairs = num_positive * num_negative
  return (total - num_positive * (num_positive + 1) / 2) / pairs


def of_numbers(values: np.ndarray, labels: np.ndarray) -> float | None:
  """Returns the ROC-AUC of a number, of its inverse if that is larger.

  A missing number (NaN) tells something, too: it is taken for the smallest and
  for the largest, whichever says more.
  """
  missing = np.isnan(values)
  results = []
  for stand_in in (-np.inf, np.inf) if missing.any() else (0.0,):
    roc_auc = of_scores(np.where(missing, stand_in, values), labels)
    if roc_auc is not None:
      results += [roc_auc, 1 - roc_auc]
  return max(results, default=None)


def of_categories(
    codes: np.ndarray,
    rows: np.ndarray,
    labels: np.ndarray,
    halves: np.ndarray,
) -> float | None:
  """Returns the ROC-AUC of the label rates of categories.

  The rates that score a half of the rows are those of the other half, so that a
  category that has few rows does not tell its own labels.

  Args:
    codes: categories, counted from 0, [values].
    rows: which row each stands in, [values]; of several categories in a row,
      that counts whose rate is furthest from the mean.
    labels: 0 or 1, [rows].
    halves: 0 or 1, [rows].
  """
  if not labels.size or not codes.size:
    return None
  scores = np.zeros(labels.size)
  for half in (0, 1):
    known = halves != half
    if not known.any():
      continue
    mean = float(np.mean(labels[known]))
    used = known[rows]
    counts = np.bincount(codes[used], minlength=codes.max() + 1)
    positives = np.bincount(
        codes[used], labels[rows[used]], minlength=codes.max() + 1
    )
    rates = (positives + _PRIOR_ROWS * mean) / (counts + _PRIOR_ROWS)
    # Relative to the mean of the half: the halves are compared with each other.
    scores += _furthest(rates[codes] - mean, rows, labels.size) * (
        halves == half
    )
  return of_scores(scores, labels)


def _furthest(
    values: np.ndarray, rows: np.ndarray, num_rows: int
) -> np.ndarray:
  """Returns the value of each row that is furthest from 0, or 0, [rows]."""
  highest, lowest = np.zeros(num_rows), np.zeros(num_rows)
  np.maximum.at(highest, rows, values)
  np.minimum.at(lowest, rows, values)
  return np.where(highest >= -lowest, highest, lowest)
