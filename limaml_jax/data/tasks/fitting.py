"""Fitting: learns from training rows how one feature is encoded."""

from collections.abc import Sequence
import logging
from typing import Any
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from limaml_jax import types
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.tasks import bucketing
from limaml_jax.data.tasks import hashing
from limaml_jax.data.tasks import log_statistics
from limaml_jax.data.tasks import ordered_events
from limaml_jax.data.tasks import statistics
from limaml_jax.data.tasks import vocabulary

_LOGGER = logging.getLogger(__name__)


class Fitted(NamedTuple):
  """How one feature is encoded.

  Attributes:
    spec: of the feature.
    tokens: its vocabulary, Arrow strings; None where there is none.
  """

  spec: types.FeatureSpec
  tokens: pa.Array | None = None


def specify(feature: schema_lib.Feature, **facts: Any) -> types.FeatureSpec:
  """Returns what the schema says of a feature, and facts of training rows."""
  return types.FeatureSpec(
      name=feature.name,
      kind=feature.kind,
      owner=feature.owner,
      role=feature.role,
      max_values=feature.max_values if feature.kind == 'multi_hot' else 0,
      transform=feature.transform,
      hash_buckets=feature.hash_buckets,
      per_event=feature.owner == 'entity' and feature.in_log,
      **facts,
  )


def fit_cells(
    feature: schema_lib.Feature,
    column: pa.ChunkedArray,
    weights: np.ndarray,
    *,
    min_count: int,
) -> Fitted:
  """Fits a feature to cells.

  Args:
    feature: of the schema.
    column: its values, [cells].
    weights: training rows that each cell stands for, [cells].
    min_count: training rows that a token needs.
  """
  if feature.kind == 'numeric':
    values = statistics.numbers(column, feature.transform)
    return _fit_numbers(feature, statistics.moments(values, weights))
  if feature.kind == 'bucketized':
    values = statistics.numbers(column, '')
    return _fit_buckets(feature, bucketing.count(values, weights))
  codes, texts = ordered_events.codes_and_texts(column)
  totals = vocabulary.count(codes, texts, weights)
  return _fit_texts(feature, texts, totals, min_count)


def fit_log(
    feature: schema_lib.Feature,
    found: log_statistics.LogStatistics,
    *,
    min_count: int,
) -> Fitted:
  """Fits a feature that stands in the log.

  Args:
    feature: of the schema.
    found: in the log, this feature included.
    min_count: training rows that a token needs.
  """
  column = ordered_events.feature_column(feature)
  if feature.kind == 'numeric':
    return _fit_numbers(feature, found.moments[column])
  if feature.kind == 'bucketized':
    return _fit_buckets(feature, found.values.get(column))
  counts = found.counts[column]
  return _fit_texts(feature, counts.texts, counts.totals, min_count)


def _fit_numbers(feature, moments) -> Fitted:
  mean, std = moments.mean_and_std
  return Fitted(specify(feature, mean=mean, std=std))


def _fit_buckets(feature, found) -> Fitted:
  """Takes the schema's boundaries, or quantiles of the values found."""
  boundaries: Sequence[float] = feature.boundaries
  if not boundaries:
    boundaries = bucketing.quantiles(found, feature.num_buckets)
    _LOGGER.info(
        'Feature %r: %d buckets of the %d wanted, from %d distinct values',
        feature.name, len(boundaries) + 1, feature.num_buckets,
        len(found.values),
    )  # fmt: skip
  return Fitted(
      specify(feature, num_rows=len(boundaries) + 2, boundaries=boundaries)
  )


def _fit_texts(feature, texts, totals, min_count) -> Fitted:
  if feature.kind == 'multi_hot':
    texts, totals = vocabulary.count_tokens(texts, totals, feature)
  if feature.hash_buckets:
    return _fit_hash(feature, int(np.sum(totals > 0)))
  tokens = vocabulary.choose(texts, totals, min_count=min_count)
  return Fitted(specify(feature, num_rows=len(tokens) + 1), tokens)


def _fit_hash(feature, num_tokens) -> Fitted:
  _LOGGER.info(
      'Feature %r: %d tokens in %d hash buckets; about %.1f %% of them share'
      ' theirs with another',
      feature.name, num_tokens, feature.hash_buckets,
      100 * hashing.colliding_share(num_tokens, feature.hash_buckets),
  )  # fmt: skip
  return Fitted(specify(feature, num_rows=feature.hash_buckets + 1))
