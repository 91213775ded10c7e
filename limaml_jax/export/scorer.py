"""Scorer: the global block in memory, for whatever is scored by the million."""

import functools

import jax
import numpy as np

from limaml_jax import types
from limaml_jax.export import program

_BUCKETS = (1, 16, 256, 4096)  # Padded numbers of rows: one compilation each.


class Scorer:
  """The global block, ready to score any number of rows."""

  def __init__(self, half: program.GlobalHalf):
    """Compiles nothing yet."""
    self._half = half

    def score_row(arrays, embeddings, features):
      return program.score_row(half.bind(arrays), embeddings, features)

    self._score = jax.jit(jax.vmap(score_row, in_axes=(None, 0, 0)))

  def score(
      self,
      embeddings: dict[types.EntityType, np.ndarray],
      features: types.HostFeatures,
  ) -> np.ndarray:
    """Returns the probability of label 1 of each row, [C] float32.

    Args:
      embeddings: meta embeddings by entity type, [C, E].
      features: raw features of the rows, leaves [C, ...].
    """
    names = [spec.name for spec in self._half.specs]
    rows = (embeddings, {name: features[name] for name in names})
    num_rows = next(iter(embeddings.values())).shape[0]
    largest = _BUCKETS[-1]
    scores = [
        self._score_padded(
            jax.tree.map(lambda x: x[i : i + largest], rows)  # noqa: B023
        )
        for i in range(0, num_rows, largest)
    ]
    return np.concatenate(scores) if scores else np.zeros(0, np.float32)

  def _score_padded(self, rows) -> np.ndarray:
    num_rows = jax.tree.leaves(rows)[0].shape[0]
    padded = next(size for size in _BUCKETS if size >= num_rows)
    pad = functools.partial(_pad_rows, size=padded)
    embeddings, features = jax.tree.map(pad, rows)
    scores = self._score(self._half.arrays, embeddings, features)
    return np.asarray(scores)[:num_rows]


def _pad_rows(rows: np.ndarray, *, size: int) -> np.ndarray:
  widths = [(0, size - rows.shape[0])] + [(0, 0)] * (rows.ndim - 1)
  return np.pad(rows, widths)
