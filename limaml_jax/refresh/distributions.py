"""Distances between the vectors of two snapshots, as distributions."""

from typing import NamedTuple

import numpy as np

_NORM_QUANTILES = {'median': 0.5, '99th percentile': 0.99}
_NUM_QUANTILES = 101
_MIN_ENTITIES = 30  # Fewer describe nothing but themselves.
_MAX_ENTITIES = 20_000  # More tell a quantile no better.


class Cohorts(NamedTuple):
  """Which entities are alike: by how much was known of them.

  Attributes:
    names: of the cohorts.
    current: index of the cohort of each vector of the new snapshot, [n]; -1
      for one that is no entity any more.
    previous: and of the previous one at its own cutoff, [m].
  """

  names: tuple[str, ...]
  current: np.ndarray
  previous: np.ndarray


def norm_ratios(
    current: np.ndarray, previous: np.ndarray
) -> dict[str, float]:
  """Returns quantiles of the norms over those of the previous snapshot.

  Args:
    current: [n, E]; of many, some in regular distances are taken.
    previous: [m, E].
  """
  norms = [
      np.linalg.norm(_some(vectors), axis=1) for vectors in (current, previous)
  ]
  tiny = np.finfo(np.float32).tiny
  ratios = {}
  for name, quantile in _NORM_QUANTILES.items():
    now, before = (np.quantile(values, quantile) for values in norms)
    ratios[name] = float((now + tiny) / (before + tiny))
  # What is not finite is another check's matter, and fails this one too.
  return {k: v if np.isfinite(v) else np.inf for k, v in ratios.items()}


def drifts(
    current: np.ndarray, previous: np.ndarray, cohorts: Cohorts
) -> dict[str, float | None]:
  """Returns the distance of all, and of each cohort, from what it was.

  The distance is the 1-Wasserstein distance along each axis, in standard
  deviations of the previous snapshot there, and the mean of it over the axes;
  None where there are too few entities.

  Args:
    current: [n, E].
    previous: [m, E].
    cohorts: of both; of a large one, some in regular distances.
  """
  spread = np.maximum(previous.std(axis=0), 1e-12)
  members = {'all': (slice(None), slice(None))} | {
      name: (cohorts.current == index, cohorts.previous == index)
      for index, name in enumerate(cohorts.names)
  }
  found = {}
  for name, (ours, theirs) in members.items():
    now, before = current[ours], previous[theirs]
    if min(len(now), len(before)) < _MIN_ENTITIES:
      found[name] = None
      continue
    now, before = _some(now), _some(before)
    moved = np.abs(_quantiles(now) - _quantiles(before)).mean(axis=0)
    distance = float((moved / spread).mean())
    found[name] = distance if np.isfinite(distance) else np.inf
  return found


def _some(vectors: np.ndarray) -> np.ndarray:
  """Returns vectors from all over, as many as a quantile needs."""
  return vectors[:: -(-len(vectors) // _MAX_ENTITIES)]


def _quantiles(vectors: np.ndarray) -> np.ndarray:
  """Returns quantiles along each axis, [quantiles, E]."""
  return np.quantile(vectors, np.linspace(0, 1, _NUM_QUANTILES), axis=0)
