"""Padded sizes of ragged tasks, chosen from the sizes that the data has."""

from collections.abc import Sequence

import numpy as np


def choose(
    sizes: np.ndarray, given: Sequence[int], num_buckets: int
) -> tuple[int, ...]:
  """Adds the buckets that save most padding to those given, one by one.

  Args:
    sizes: rows of each task, 0 included, none above the largest bucket, [M].
    given: padded sizes, ascending.
    num_buckets: how many there shall be at most.

  Returns:
    Padded sizes, ascending; each costs a compilation.
  """
  largest = given[-1]
  no_larger = np.cumsum(np.bincount(sizes, minlength=largest + 1))
  candidates = np.arange(1, largest)
  buckets = set(given)
  while len(buckets) < num_buckets:
    ordered = np.sort([0, *buckets])
    above = ordered[np.searchsorted(ordered, candidates)]
    below = ordered[np.searchsorted(ordered, candidates) - 1]
    # Tasks of no row at all sit in the smallest bucket.
    fewer = np.where(below == 0, 0, no_larger[below])
    saved = (above - candidates) * (no_larger[candidates] - fewer)
    if not np.any(saved > 0):
      break
    buckets.add(int(candidates[np.argmax(saved)]))
  return tuple(sorted(buckets))


def pad_to(sizes: np.ndarray, buckets: Sequence[int]) -> np.ndarray:
  """Returns the padded size of each task, [M], for ascending buckets."""
  return np.asarray(buckets)[np.searchsorted(buckets, sizes)]


def padding_share(sizes: np.ndarray, buckets: Sequence[int]) -> float:
  """Returns which part of all rows is padding, were each task seen once."""
  total = np.sum(pad_to(sizes, buckets))
  return float(1 - np.sum(sizes) / total) if total else 0.0
