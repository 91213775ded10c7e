"""Log statistics: what the training events say of the log's own columns."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.tasks import bucketing
from limaml_jax.data.tasks import event_index
from limaml_jax.data.tasks import ordered_events
from limaml_jax.data.tasks import statistics


class Counts(NamedTuple):
  """How often each text of a column occurs.

  Attributes:
    texts: distinct ones, test events included, ascending, Arrow strings.
    totals: their training events, [texts].
  """

  texts: pa.Array
  totals: np.ndarray


class LogStatistics(NamedTuple):
  """Of the training events.

  Attributes:
    label_mean: share of label 1.
    counts: by column, of texts.
    moments: by column, of transformed numbers.
    values: by column, of numbers whose quantiles are wanted.
  """

  label_mean: float
  counts: dict[str, Counts]
  moments: dict[str, statistics.Moments]
  values: dict[str, bucketing.ValueCounts]


def collect(
    index: event_index.EventIndex, features: Sequence[schema_lib.Feature]
) -> LogStatistics:
  """Reads the log once.

  Args:
    index: of the events.
    features: that stand in the log.
  """
  texts = {ordered_events.ITEM: []}
  moments, transforms, values = {}, {}, {}
  for feature in features:
    column = ordered_events.feature_column(feature)
    if feature.kind == 'numeric':
      moments[column] = statistics.NOTHING
      transforms[column] = feature.transform
    elif feature.num_buckets:
      values[column] = []
    elif feature.kind != 'bucketized':
      texts[column] = []
  positives = 0.0
  columns = [ordered_events.LABEL, *texts, *moments, *values]
  for where, rows in index.parts(columns):
    train = index.is_train[where]
    labels = rows[ordered_events.LABEL].to_numpy()
    positives += labels[train].sum(dtype=np.float64)
    for column, found in texts.items():
      codes, distinct = ordered_events.codes_and_texts(rows[column])
      found.append(_count(codes, distinct, train))
    for column, transform in transforms.items():
      part = statistics.numbers(rows[column], transform)[train]
      part = statistics.moments(part)
      moments[column] = statistics.merge(moments[column], part)
    for column, found in values.items():
      part = statistics.numbers(rows[column], '')[train]
      found.append(bucketing.count(part))
  return LogStatistics(
      label_mean=positives / max(int(index.is_train.sum()), 1),
      counts={column: _merge(found) for column, found in texts.items()},
      moments=moments,
      values={name: bucketing.merge(found) for name, found in values.items()},
  )


def _count(codes, texts, train):
  """Returns the texts of one part, and how many training events have each."""
  present = codes >= 0
  occurs = np.bincount(codes[present], minlength=len(texts)) > 0
  totals = np.bincount(codes[present & train], minlength=len(texts))
  # A dictionary may hold texts of events that were dropped.
  return pa.table({
      'text': texts.filter(pa.array(occurs)),
      'total': pa.array(totals[occurs]),
  })


def _merge(parts):
  total = pa.concat_tables(parts).group_by('text').aggregate([('total', 'sum')])
  total = total.sort_by('text').combine_chunks()
  return Counts(
      total['text'].combine_chunks(), total['total_sum'].to_numpy()
  )
