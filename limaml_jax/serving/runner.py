"""Runner: the exported program, compiled for a few sizes before it is asked."""

from collections.abc import Callable

import jax
from jax import export as jax_export
import numpy as np

from limaml_jax.bundle import columns as columns_lib
from limaml_jax.bundle import reading

# Padded numbers of rows; what is larger is cut.
_ROWS = (8, 32, 64, 128, 256, 512, 1024, 2048)
MAX_ROWS = _ROWS[-1]

Program = Callable[..., jax.Array]


def compiled(program: jax_export.Exported) -> Program:
  """Returns the program, to be compiled once for each size."""
  return jax.jit(program.call)


class Runner:
  """One version's program and weights, on the device."""

  def __init__(
      self, bundle: reading.Bundle, program: Program, max_entities: int
  ):
    """Compiles nothing yet.

    Args:
      bundle: whose weights.
      program: of `compiled`; versions with the same one share it.
      max_entities: of a request.
    """
    self._program = program
    self._weights = jax.device_put(bundle.weights)
    self._columns = bundle.columns
    self._dimension = bundle.manifest.dimension
    # One entity is by far the commonest.
    self._entities = (1, max_entities) if max_entities > 1 else (1,)

  def warm_up(self) -> None:
    """Compiles the program for all sizes."""
    for num_entities in self._entities:
      for num_rows in _ROWS:
        self.score(
            np.zeros((num_entities, self._dimension), np.float32),
            np.zeros(num_rows, np.int32),
            self._columns.blank(num_rows),
        )

  def score(
      self,
      embeddings: np.ndarray,
      entity_of_row: np.ndarray,
      features: columns_lib.Packed,
  ) -> np.ndarray:
    """Returns the probability of label 1 of each row, [c] float32.

    Args:
      embeddings: of the entities, [n, E].
      entity_of_row: [c].
      features: of the rows.
    """
    num_rows, largest = len(entity_of_row), _ROWS[-1]
    size = next(s for s in self._entities if s >= len(embeddings))
    embeddings = _padded(embeddings, size)
    arrays = (entity_of_row, *features)
    if num_rows <= largest:
      return self._score_padded(embeddings, arrays)
    parts = [
        self._score_padded(
            embeddings, [array[i : i + largest] for array in arrays]
        )
        for i in range(0, num_rows, largest)
    ]
    return np.concatenate(parts)

  def _score_padded(self, embeddings, arrays) -> np.ndarray:
    num_rows = len(arrays[0])
    size = next(s for s in _ROWS if s >= num_rows)
    arrays = [_padded(array, size) for array in arrays]
    scores = self._program(self._weights, embeddings, *arrays)
    return np.asarray(scores)[:num_rows]


def _padded(rows: np.ndarray, size: int) -> np.ndarray:
  if len(rows) == size:
    return rows
  padded = np.zeros((size, *rows.shape[1:]), rows.dtype)
  padded[: len(rows)] = rows
  return padded
