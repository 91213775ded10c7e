"""Closed-form baselines: what counting finds without any network.

Both look only at the past: the item prior at training events, the entity offset
at the entity's events before the cutoff it is scored under.
"""

import numpy as np

# Names under which they stand in a summary.
ITEM_PRIOR = 'item_prior'
USER_BIAS = 'user_bias'
NAMES = (ITEM_PRIOR, USER_BIAS)

# Keeps the logit of an item that everybody liked finite.
_MIN_PROBABILITY = 1e-6


def leading_mask(offsets: np.ndarray, counts: np.ndarray) -> np.ndarray:
  """Marks the leading events of each entity, [events] bool.

  Args:
    offsets: the events of entity n are offsets[n]:offsets[n + 1], [N + 1].
    counts: leading events to mark, e.g. `num_train`, [N].
  """
  sizes = np.diff(offsets)
  positions = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
  return positions < np.repeat(counts, sizes)


def item_prior(
    items: np.ndarray,
    labels: np.ndarray,
    train_mask: np.ndarray,
    num_items: int,
    *,
    strength: float,
) -> np.ndarray:
  """Returns the smoothed mean training label of each item, [num_items].

  The m-estimate (Σ y + strength · m) / (n + strength), with m the mean label
  of all training events; an item without any has m.

  Args:
    items: index of the item, [events].
    labels: 0 or 1, [events].
    train_mask: training events, [events] bool.
    num_items: indices that exist.
    strength: events' worth of belief in m.

  Raises:
    ValueError: if there is no training event.
  """
  if not np.any(train_mask):
    raise ValueError('no training event to take an item prior from')
  items = items[train_mask]
  labels = np.asarray(labels[train_mask], np.float64)
  mean = np.mean(labels)
  counts = np.bincount(items, minlength=num_items)
  totals = np.bincount(items, weights=labels, minlength=num_items)
  prior = np.full(num_items, mean)
  weights = counts + strength
  np.divide(totals + strength * mean, weights, out=prior, where=weights > 0)
  return np.clip(prior, _MIN_PROBABILITY, 1.0 - _MIN_PROBABILITY)


def entity_offsets(
    offsets: np.ndarray,
    items: np.ndarray,
    labels: np.ndarray,
    prior: np.ndarray,
    entities: np.ndarray,
    support_size: np.ndarray,
    *,
    strength: float,
) -> np.ndarray:
  """Returns how far an entity's logits stand off the item prior, [n].

  One Newton step from 0 towards the mode of logistic regression on a constant,
  with σ(logit(p_i)) as its start and a Gaussian prior of precision `strength`:
  Σ (y_i − p_i) / (Σ p_i (1 − p_i) + strength) over the support.

  Args:
    offsets: the events of entity n are offsets[n]:offsets[n + 1], ascending by
      time, [N + 1].
    items: index of the item, [events].
    labels: 0 or 1, [events].
    prior: probability of label 1 of each item, [num_items].
    entities: entity of each row to score, [n].
    support_size: leading events of that entity to learn from, those strictly
      before the row's cutoff, [n].
    strength: precision of the prior around 0; positive.
  """
  if strength <= 0:
    raise ValueError(f'strength is {strength}, must be positive')
  p = prior[items]
  residuals = np.concatenate([[0.0], np.cumsum(labels - p)])
  variances = np.concatenate([[0.0], np.cumsum(p * (1.0 - p))])
  first = offsets[entities]
  last = first + support_size
  if np.any(last > offsets[entities + 1]):
    raise ValueError('support_size exceeds the events of an entity')
  step = residuals[last] - residuals[first]
  return step / (variances[last] - variances[first] + strength)


def user_bias_scores(
    prior: np.ndarray, items: np.ndarray, offset: np.ndarray
) -> np.ndarray:
  """Returns σ(logit(prior of the item) + offset of the entity), [n].

  Args:
    prior: probability of label 1 of each item, [num_items].
    items: item of each row to score, [n].
    offset: of the row's entity, [n].
  """
  p = prior[items]
  return 1.0 / (1.0 + np.exp(-(np.log(p) - np.log1p(-p) + offset)))
