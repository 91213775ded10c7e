"""Cell encoder: from the cells of a raw column to the numbers of a feature."""

from collections.abc import Callable
import functools

import numpy as np
import pyarrow as pa

from limaml_jax import cells
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.tasks import fitting
from limaml_jax.data.tasks import hashing
from limaml_jax.data.tasks import ordered_events
from limaml_jax.data.tasks import statistics
from limaml_jax.data.tasks import vocabulary

# Cells of a column, [cells] -> their values, [cells, ...].
Encode = Callable[[pa.ChunkedArray], np.ndarray]


def make_encode(
    feature: schema_lib.Feature, fitted: fitting.Fitted
) -> Encode:
  """Returns the function that encodes the cells of a feature.

  Args:
    feature: says how its cells are written.
    fitted: what its numbers mean.
  """
  spec = fitted.spec
  if spec.kind == 'numeric':
    return functools.partial(_encode_numbers, spec=spec)
  if spec.kind == 'bucketized':
    return lambda column: cells.bucket_rows(
        statistics.numbers(column, ''), spec.boundaries
    )
  look_up = _make_look_up(feature, fitted)
  return lambda column: look_up(*ordered_events.codes_and_texts(column))


def _encode_numbers(column, spec):
  values = statistics.numbers(column, spec.transform)
  return np.where(np.isnan(values), spec.mean, values).astype(np.float32)


def _make_look_up(feature, fitted):
  """Returns (codes, texts) -> rows of the embedding table."""
  num_buckets = fitted.spec.hash_buckets
  if fitted.spec.kind == 'categorical':
    if num_buckets:
      return functools.partial(hashing.look_up, num_buckets=num_buckets)
    return functools.partial(vocabulary.look_up, vocabulary=fitted.tokens)
  if num_buckets:
    row_of = functools.partial(cells.hashed_row, num_buckets=num_buckets)
  else:
    rows = {token: n for n, token in enumerate(fitted.tokens.to_pylist(), 1)}
    row_of = lambda token: rows.get(token, 0)
  return functools.partial(
      vocabulary.look_up_multi_hot, feature=feature, row_of=row_of
  )
