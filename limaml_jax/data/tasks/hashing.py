"""Hashing: tokens to rows of an embedding table without a vocabulary.

Row 0 is for empty cells; a token that training never saw has a row like any
other.
"""

import numpy as np
import pyarrow as pa

from limaml_jax import cells


def look_up(
    codes: np.ndarray, texts: pa.Array, num_buckets: int
) -> np.ndarray:
  """Returns the row of each cell, [cells] int32.

  Args:
    codes: position in `texts` of each cell, -1 where it is empty, [cells].
    texts: distinct tokens.
    num_buckets: that they share.
  """
  rows = [cells.hashed_row(text, num_buckets) for text in texts.to_pylist()]
  # One more row at the end, which code -1 finds.
  return np.asarray([*rows, 0], np.int32)[codes]


def colliding_share(num_tokens: int, num_buckets: int) -> float:
  """Returns the expected share of tokens that share a bucket with another.

  1 − (1 − 1/m)^(n−1): none of the n − 1 others falls into the same of m.
  """
  return 1 - (1 - 1 / num_buckets) ** max(num_tokens - 1, 0)
