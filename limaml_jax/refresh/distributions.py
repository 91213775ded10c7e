"""Distances between the vectors of two snapshots, as distributions."""

from typing import NamedTuple

import numpy as np

from limaml_jax.store import contents as contents_lib

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
    current: contents_lib.Contents, previous: contents_lib.Contents
) -> dict[str, float]:
  """Returns quantiles of the norms over those of the previous snapshot.

  Args:
    current: of many entities, some in regular distances are taken.
    previous: the same.
  """
  norms = [
      np.linalg.norm(_vectors(contents, _everybody(contents)), axis=1)
      for contents in (current, previous)
  ]
  tiny = np.finfo(np.float32).tiny
  ratios = {}
  for name, quantile in _NORM_QUANTILES.items():
    now, before = (np.quantile(values, quantile) for values in norms)
    ratios[name] = float((now + tiny) / (before + tiny))
  # What is not finite is another check's matter, and fails this one too.
  return {k: v if np.isfinite(v) else np.inf for k, v in ratios.items()}


def drifts(
    current: contents_lib.Contents,
    previous: contents_lib.Contents,
    cohorts: Cohorts,
) -> dict[str, float | None]:
  """Returns the distance of all, and of each cohort, from what it was.

  The distance is the 1-Wasserstein distance along each axis, in standard
  deviations of the previous snapshot there, and the mean of it over the axes;
  None where there are too few entities.

  Args:
    current: of many entities, some in regular distances are taken.
    previous: the same.
    cohorts: of both; the same of each.
  """
  everybody = _everybody(current), _everybody(previous)
  spread = np.maximum(_vectors(previous, everybody[1]).std(axis=0), 1e-12)
  members = {'all': everybody} | {
      name: (
          np.flatnonzero(cohorts.current == index),
          np.flatnonzero(cohorts.previous == index),
      )
      for index, name in enumerate(cohorts.names)
  }
  found = {}
  for name, (ours, theirs) in members.items():
    if min(ours.size, theirs.size) < _MIN_ENTITIES:
      found[name] = None
      continue
    now, before = _vectors(current, ours), _vectors(previous, theirs)
    moved = np.abs(_quantiles(now) - _quantiles(before)).mean(axis=0)
    distance = float((moved / spread).mean())
    found[name] = distance if np.isfinite(distance) else np.inf
  return found


def _everybody(contents: contents_lib.Contents) -> np.ndarray:
  return np.arange(contents.keys.size)


def _vectors(contents: contents_lib.Contents, rows: np.ndarray) -> np.ndarray:
  """Returns vectors from all over, as many as a quantile needs."""
  return contents.take(rows[:: -(-rows.size // _MAX_ENTITIES)])


def _quantiles(vectors: np.ndarray) -> np.ndarray:
  """Returns quantiles along each axis, [quantiles, E]."""
  # As np.quantile, which sorts less but takes longer.
  ordered = np.sort(vectors.T, axis=1)
  places = np.linspace(0, len(vectors) - 1, _NUM_QUANTILES)
  below = places.astype(np.int64)
  above = np.minimum(below + 1, len(vectors) - 1)
  steps = ordered[:, above] - ordered[:, below]
  return (ordered[:, below] + steps * (places - below)).T
