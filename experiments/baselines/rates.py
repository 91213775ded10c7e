"""Rates: shares of label 1 among strictly earlier events, smoothed.

Counted over all events at once: events sorted by key and time are summed up,
and what a row may see of its key is a range of the sums.

A `past_rate` of a schema is a column of the dataset, up to the very event. Here
rates may stop at the last refresh, as stored embeddings do, and are of all
entities with all categories, which no schema has to name.
"""

from typing import NamedTuple

import numpy as np

_TIME_BITS = 34  # Times are below 2^33 (year 2242).


class PastCounts(NamedTuple):
  """What was seen of each row's key before the row's time.

  Attributes:
    total: events, [n] float64.
    positive: of these with label 1, [n] float64.
  """

  total: np.ndarray
  positive: np.ndarray

  def smoothed(
      self, prior: np.ndarray | float, strength: float
  ) -> np.ndarray:
    """Returns (positive + strength · prior) / (total + strength), [n].

    Args:
      prior: rate of a key without events, [n] or one for all.
      strength: events' worth of belief in it; positive.
    """
    return (self.positive + strength * prior) / (self.total + strength)


def past_counts(
    keys: np.ndarray,
    times: np.ndarray,
    labels: np.ndarray,
    cutoffs: np.ndarray,
) -> PastCounts:
  """Counts the events of each event's key strictly before its cutoff.

  Args:
    keys: not negative, [events].
    times: UTC seconds, [events].
    labels: 0 or 1, [events].
    cutoffs: UTC seconds, [events], none later than the event.
  """
  _, codes = np.unique(keys, return_inverse=True)
  codes = codes.astype(np.int64) << _TIME_BITS
  first = min(np.min(times, initial=0), np.min(cutoffs, initial=0))
  times, cutoffs = times - first, cutoffs - first  # Before 1970, too.
  packed = codes + times
  order = np.argsort(packed, kind='stable')
  packed = packed[order]
  positives = np.concatenate([[0.0], np.cumsum(labels[order], dtype=float)])
  start = np.searchsorted(packed, codes)
  stop = np.searchsorted(packed, codes + cutoffs)
  return PastCounts(
      total=(stop - start).astype(np.float64),
      positive=positives[stop] - positives[start],
  )


def past_rates(
    values: np.ndarray,
    times: np.ndarray,
    labels: np.ndarray,
    cutoffs: np.ndarray,
    *,
    prior: np.ndarray,
    strength: float,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the past rate of each event's values and how often they occurred.

  Of several values of one event, the mean rate and the mean count; of none,
  the prior and 0.

  Args:
    values: keys, -1 for none, [events] or [events, max_values].
    times: UTC seconds, [events].
    labels: 0 or 1, [events].
    cutoffs: UTC seconds, [events].
    prior: rate of a value without events, [events].
    strength: events' worth of belief in the prior.

  Returns:
    Two arrays, [events] float64.
  """
  values = values.reshape(len(times), -1)
  event, slot = np.nonzero(values >= 0)
  counts = past_counts(
      values[event, slot], times[event], labels[event], cutoffs[event]
  )
  num_values = np.bincount(event, minlength=len(times))
  mean = lambda numbers: np.bincount(
      event, weights=numbers, minlength=len(times)
  ) / np.maximum(num_values, 1)
  rate = mean(counts.smoothed(prior[event], strength))
  return np.where(num_values > 0, rate, prior), mean(counts.total)


def cross(owners: np.ndarray, values: np.ndarray, num_rows: int) -> np.ndarray:
  """Returns keys of (owner, value) pairs, -1 where there is no value.

  Args:
    owners: not negative, [events].
    values: below `num_rows`, -1 for none, [events] or [events, max_values].
    num_rows: of the values' vocabulary.
  """
  owners = owners.reshape(owners.shape + (1,) * (values.ndim - 1))
  return np.where(values >= 0, owners.astype(np.int64) * num_rows + values, -1)
