"""Scorer: the global block in memory, for whatever is scored by the million."""

import jax
import numpy as np

from limaml_jax import types
from limaml_jax.export import program

_ROWS_AT_ONCE = 4096


class Scorer:
  """The global block, ready to score any number of rows.

  They are always padded to the same number, so that the score of a row is the
  same to the bit, whichever rows are scored with it: products of one row are
  summed in another order than those of many.
  """

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
    scores = [
        self._score_padded(
            jax.tree.map(lambda x: x[i : i + _ROWS_AT_ONCE], rows)  # noqa: B023
        )
        for i in range(0, num_rows, _ROWS_AT_ONCE)
    ]
    return np.concatenate(scores) if scores else np.zeros(0, np.float32)

  def _score_padded(self, rows) -> np.ndarray:
    num_rows = jax.tree.leaves(rows)[0].shape[0]
    embeddings, features = jax.tree.map(_pad_rows, rows)
    scores = self._score(self._half.arrays, embeddings, features)
    return np.asarray(scores)[:num_rows]


def _pad_rows(rows: np.ndarray) -> np.ndarray:
  missing = _ROWS_AT_ONCE - rows.shape[0]
  widths = [(0, missing)] + [(0, 0)] * (rows.ndim - 1)
  return np.pad(rows, widths)
