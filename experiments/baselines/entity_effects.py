"""Effects of entities: what each one's own events add to a shared logit.

Refit at each refresh from strictly earlier events, for who is scored then.
"""

from collections.abc import Callable
import functools

import jax
import numpy as np

from experiments import pipeline
from experiments.baselines import ridge_logistic
from limaml_jax.evaluation import replay

_CHUNK_NUMBERS = 2**22  # Of the features of all events of a chunk.
_SMALLEST_SUPPORT = 8


def add(
    data: pipeline.Dataset,
    rows: replay.TestRows,
    *,
    logits: np.ndarray,
    features: np.ndarray,
    labels: np.ndarray,
    precision: np.ndarray,
    max_events: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
  """Returns the logits of the rows, each entity's effect included, [n].

  Args:
    data: prepared dataset.
    rows: to be scored.
    logits: shared, of all events, [events].
    features: of all events, [events, F].
    labels: that the effects learn, of all events, 0 to 1, [events].
    precision: of the prior around 0 of each weight, [F].
    max_events: latest events before a refresh that an entity learns from.
    on_progress: called with (fits done, all).
  """
  # One fit for all rows of an entity under one refresh.
  fits, fit_of_row = np.unique(
      np.stack([rows.entity, rows.support_size]), axis=1, return_inverse=True
  )
  entity, size = fits
  stop = data.table.offsets[entity] + size
  start = stop - np.minimum(size, max_events)
  result = logits[rows.event].astype(np.float64)
  rows_by_fit = np.argsort(fit_of_row, kind='stable')
  first_row = np.searchsorted(fit_of_row[rows_by_fit], np.arange(size.size + 1))
  done = 0
  for num_support, members in _chunks(stop - start, features.shape[1]):
    weights = _fit_chunk(
        data.table.weights, start[members], stop[members], num_support,
        members.size, logits=logits, features=features, labels=labels,
        precision=precision,
    )  # fmt: skip
    counts = first_row[members + 1] - first_row[members]
    chosen = rows_by_fit[_ranges(first_row[members], counts)]
    own = features[rows.event[chosen]] * np.repeat(weights, counts, axis=0)
    result[chosen] += np.sum(own, axis=1, dtype=np.float64)
    done += members.size
    on_progress(done, size.size)
  return result


def _ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
  """Returns start, start + 1, ... of each range, one after another."""
  before = np.cumsum(counts) - counts
  return np.arange(counts.sum()) + np.repeat(starts - before, counts)


def _chunks(sizes: np.ndarray, num_features: int):
  """Yields padded supports and who has them; nobody without events."""
  powers = 2 ** np.ceil(np.log2(np.maximum(sizes, 1))).astype(np.int64)
  padded = np.maximum(powers, _SMALLEST_SUPPORT)
  for num_support in np.unique(padded[sizes > 0]).tolist():
    members = np.flatnonzero((padded == num_support) & (sizes > 0))
    length = max(1, _CHUNK_NUMBERS // (num_support * num_features))
    for i in range(0, members.size, length):
      yield num_support, members[i : i + length]


def _fit_chunk(
    weights, start, stop, num_support, num_fits, *, logits, features, labels,
    precision,
):
  """Returns the weights of some fits, [fits, F]."""
  events = start[:, None] + np.arange(num_support)
  real = events < stop[:, None]
  events = np.where(real, events, start[:, None])
  # As many as a power of two: one compilation for all but few chunks.
  length = 1 << (num_fits - 1).bit_length()
  padding = [(0, length - num_fits), (0, 0)]
  events, real = np.pad(events, padding), np.pad(real, padding)
  effects = _fit(
      features[events],
      logits[events].astype(np.float32),
      labels[events],
      np.where(real, weights[events], 0).astype(np.float32),
      precision.astype(np.float32),
  )
  return np.asarray(effects)[:num_fits]


@jax.jit
def _fit(features, offsets, labels, mask, precision):
  fit = functools.partial(ridge_logistic.fit, precision=precision)
  return jax.vmap(fit)(features, offsets, labels, mask)
