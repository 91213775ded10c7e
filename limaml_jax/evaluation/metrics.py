"""Metrics of scored rows, each a mergeable state.

A metric is built from the rows of one part, merged with those of other parts
in any order, and computed once: the result is that of all rows together. Where
the rows leave a metric undefined it computes to None. Scores are probabilities
and labels 0 or 1; both are held in float64, on the host.
"""

from typing import NamedTuple

import numpy as np

from limaml_jax.evaluation import ranking

# Keeps the logarithm of a saturated score finite: a loss of 16.1 at most.
MIN_PROBABILITY = 1e-7


class RocAuc(NamedTuple):
  """Exact ROC-AUC; a tied pair counts half.

  Attributes:
    scores: [n] float64.
    labels: [n] float64.
  """

  scores: np.ndarray
  labels: np.ndarray

  @classmethod
  def from_scores(cls, scores: np.ndarray, labels: np.ndarray) -> 'RocAuc':
    """Returns the state of rows [n]."""
    return cls(*_columns(scores, labels))

  def merge(self, other: 'RocAuc') -> 'RocAuc':
    """Returns the state of the rows of both."""
    return RocAuc(*map(_concatenate, self, other))

  def compute(self) -> float | None:
    """Returns ROC-AUC, None if a class is absent."""
    return _defined(ranking.roc_auc(ranking.tie_groups(*self)))


class Gauc(NamedTuple):
  """ROC-AUC inside entities, averaged with their numbers of rows as weights.

  Entities whose rows are of a single class have no ROC-AUC and are left out.

  Attributes:
    scores: [n] float64.
    labels: [n] float64.
    entities: [n].
  """

  scores: np.ndarray
  labels: np.ndarray
  entities: np.ndarray

  @classmethod
  def from_scores(
      cls, scores: np.ndarray, labels: np.ndarray, entities: np.ndarray
  ) -> 'Gauc':
    """Returns the state of rows [n]."""
    scores, labels = _columns(scores, labels)
    entities = np.asarray(entities)
    if entities.shape != scores.shape:
      raise ValueError(f'entities {entities.shape}, scores {scores.shape}')
    return cls(scores, labels, entities)

  def merge(self, other: 'Gauc') -> 'Gauc':
    """Returns the state of the rows of both."""
    return Gauc(*map(_concatenate, self, other))

  def compute(self) -> float | None:
    """Returns GAUC, None if no entity has both classes."""
    aucs = ranking.entity_roc_aucs(*self)
    weights = np.where(np.isnan(aucs.roc_auc), 0, aucs.num_rows)
    total = np.sum(weights * np.nan_to_num(aucs.roc_auc))
    return _ratio(total, np.sum(weights))


class LogLoss(NamedTuple):
  """Mean binary cross-entropy in nats, of scores kept `MIN_PROBABILITY` off 0.

  Attributes:
    total: sum of the losses, [].
    num_rows: [].
  """

  total: float
  num_rows: int

  @classmethod
  def from_scores(cls, scores: np.ndarray, labels: np.ndarray) -> 'LogLoss':
    """Returns the state of rows [n]."""
    scores, labels = _columns(scores, labels)
    return cls(_total_log_loss(scores, labels), labels.size)

  def merge(self, other: 'LogLoss') -> 'LogLoss':
    """Returns the state of the rows of both."""
    return LogLoss(self.total + other.total, self.num_rows + other.num_rows)

  def compute(self) -> float | None:
    """Returns the mean loss, None if there are no rows."""
    return _ratio(self.total, self.num_rows)


class NormalizedEntropy(NamedTuple):
  """Log loss divided by that of always saying the label mean of these rows.

  Below 1 the scores know more than the mean does.

  Attributes:
    total: sum of the losses, [].
    num_positives: rows of label 1, [].
    num_rows: [].
  """

  total: float
  num_positives: float
  num_rows: int

  @classmethod
  def from_scores(
      cls, scores: np.ndarray, labels: np.ndarray
  ) -> 'NormalizedEntropy':
    """Returns the state of rows [n]."""
    scores, labels = _columns(scores, labels)
    total = _total_log_loss(scores, labels)
    return cls(total, float(np.sum(labels)), labels.size)

  def merge(self, other: 'NormalizedEntropy') -> 'NormalizedEntropy':
    """Returns the state of the rows of both."""
    return NormalizedEntropy(
        total=self.total + other.total,
        num_positives=self.num_positives + other.num_positives,
        num_rows=self.num_rows + other.num_rows,
    )

  def compute(self) -> float | None:
    """Returns the ratio, None if a class is absent."""
    if not 0 < self.num_positives < self.num_rows:
      return None
    mean = self.num_positives / self.num_rows
    entropy = -mean * np.log(mean) - (1.0 - mean) * np.log1p(-mean)
    return _ratio(self.total / self.num_rows, entropy)


class Calibration(NamedTuple):
  """Sum of the scores divided by the sum of the labels; 1 is calibrated.

  Attributes:
    total_score: [].
    num_positives: rows of label 1, [].
  """

  total_score: float
  num_positives: float

  @classmethod
  def from_scores(cls, scores: np.ndarray, labels: np.ndarray) -> 'Calibration':
    """Returns the state of rows [n]."""
    scores, labels = _columns(scores, labels)
    return cls(float(np.sum(scores)), float(np.sum(labels)))

  def merge(self, other: 'Calibration') -> 'Calibration':
    """Returns the state of the rows of both."""
    return Calibration(
        total_score=self.total_score + other.total_score,
        num_positives=self.num_positives + other.num_positives,
    )

  def compute(self) -> float | None:
    """Returns the ratio, None if no label is 1."""
    return _ratio(self.total_score, self.num_positives)


def log_losses(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Returns the cross-entropy of each row in nats, [n]; see `LogLoss`."""
  scores = np.clip(scores, MIN_PROBABILITY, 1.0 - MIN_PROBABILITY)
  return -np.log(np.where(labels == 1.0, scores, 1.0 - scores))


def _columns(
    scores: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  scores = np.asarray(scores, np.float64)
  labels = np.asarray(labels, np.float64)
  if scores.ndim != 1 or scores.shape != labels.shape:
    raise ValueError(f'scores {scores.shape}, labels {labels.shape}: want [n]')
  if not np.all((scores >= 0.0) & (scores <= 1.0)):  # nan fails it too.
    raise ValueError('scores must be probabilities')
  if not np.all((labels == 0.0) | (labels == 1.0)):
    raise ValueError('labels must be 0 or 1')
  return scores, labels


def _concatenate(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  return np.concatenate([a, b])


def _total_log_loss(scores: np.ndarray, labels: np.ndarray) -> float:
  return float(np.sum(log_losses(scores, labels)))


def _ratio(numerator: float, denominator: float) -> float | None:
  return float(numerator / denominator) if denominator > 0 else None


def _defined(value: float) -> float | None:
  return None if np.isnan(value) else value
