"""Hashing: tokens to rows of an embedding table without a vocabulary.

Row 0 is for empty cells; a token that training never saw has a row like any
other. `prepare` and whoever encodes a request must agree for years, so the hash
is none of Python's, which changes from process to process.
"""

import hashlib

import numpy as np
import pyarrow as pa


def row(token: str, num_buckets: int) -> int:
  """Returns the row of a token, 1 to `num_buckets`; 0 for an empty one."""
  if not token:
    return 0
  digest = hashlib.blake2b(token.encode(), digest_size=8).digest()
  return 1 + int.from_bytes(digest, 'big') % num_buckets


def look_up(
    codes: np.ndarray, texts: pa.Array, num_buckets: int
) -> np.ndarray:
  """Returns the row of each cell, [cells] int32.

  Args:
    codes: position in `texts` of each cell, -1 where it is empty, [cells].
    texts: distinct tokens.
    num_buckets: that they share.
  """
  rows = [row(text, num_buckets) for text in texts.to_pylist()]
  # One more row at the end, which code -1 finds.
  return np.asarray([*rows, 0], np.int32)[codes]


def colliding_share(num_tokens: int, num_buckets: int) -> float:
  """Returns the expected share of tokens that share a bucket with another.

  1 − (1 − 1/m)^(n−1): none of the n − 1 others falls into the same of m.
  """
  return 1 - (1 - 1 / num_buckets) ** max(num_tokens - 1, 0)
