"""Cells: what a raw value is worth as a number.

`prepare` and whoever encodes a request must agree for years, so both are here.
"""

from collections.abc import Sequence
import hashlib

import numpy as np


def hashed_row(token: str, num_buckets: int) -> int:
  """Returns the row of a token, 1 to `num_buckets`; 0 for an empty one.

  The hash is none of Python's, which changes from process to process.
  """
  if not token:
    return 0
  encoded = token.encode('utf-8', 'surrogatepass')
  digest = hashlib.blake2b(encoded, digest_size=8).digest()
  return 1 + int.from_bytes(digest, 'big') % num_buckets


def bucket_rows(
    values: np.ndarray, boundaries: Sequence[float]
) -> np.ndarray:
  """Returns the row of each number, 0 where it is NaN, [cells] int32.

  Row i + 1 is bucket i, which begins at boundary i - 1. Numbers are compared
  in 32 bits, as they may be stored.
  """
  found = np.searchsorted(
      np.asarray(boundaries, np.float32),
      values.astype(np.float32),
      side='right',
  )
  return np.where(np.isnan(values), 0, 1 + found).astype(np.int32)


def transformed(values: np.ndarray, transform: str) -> np.ndarray:
  """Returns numbers as they are standardized, [cells] float64.

  Args:
    values: of a numeric feature, [cells].
    transform: 'log1p' or none.
  """
  values = values.astype(np.float64)
  return np.log1p(values) if transform == 'log1p' else values


def distinct_tokens(tokens: Sequence[str], max_values: int) -> list[str]:
  """Returns the tokens of a multi_hot cell that count, in order."""
  stripped = (token.strip() for token in tokens)
  return list(dict.fromkeys(filter(None, stripped)))[:max_values]


def distinct_rows(rows: Sequence[int], max_values: int) -> list[int]:
  """Returns the rows of a multi_hot cell, each once, padded with -1."""
  found = list(dict.fromkeys(rows))
  return found + [-1] * (max_values - len(found))
