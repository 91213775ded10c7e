"""Exact ROC-AUC from one sort: over all rows, weighted, and inside entities.

Rows of equal score form a tie group; a pair inside one counts half, which is
what average ranks give.
"""

from typing import NamedTuple

import numpy as np


class TieGroups(NamedTuple):
  """Rows sorted by score once, so that many weightings cost no further sort.

  Attributes:
    order: rows by ascending score, [n].
    starts: position in `order` where each group of equal scores begins, [G].
    labels: 0 or 1, in that order, [n].
  """

  order: np.ndarray
  starts: np.ndarray
  labels: np.ndarray


class EntityAucs(NamedTuple):
  """ROC-AUC inside each entity.

  Attributes:
    entity: distinct entities, ascending, [N].
    roc_auc: nan where the entity has rows of a single class, [N].
    num_rows: of the entity, [N].
  """

  entity: np.ndarray
  roc_auc: np.ndarray
  num_rows: np.ndarray


def tie_groups(scores: np.ndarray, labels: np.ndarray) -> TieGroups:
  """Sorts rows by score and finds the ties; `scores` and `labels` are [n]."""
  order = np.argsort(scores, kind='stable')
  return TieGroups(
      order=order,
      starts=_starts(scores[order]),
      labels=np.asarray(labels, np.float64)[order],
  )


def roc_auc(groups: TieGroups, weights: np.ndarray | None = None) -> float:
  """Returns the probability that a positive outranks a negative.

  Args:
    groups: rows, sorted.
    weights: of the rows in the order of `groups.order`, [n]; 1 if absent.

  Returns:
    ROC-AUC, nan where one of the classes has no weight.
  """
  if not groups.starts.size:
    return float('nan')
  labels = groups.labels
  weights = np.ones_like(labels) if weights is None else weights
  positives = labels * weights
  group_positives = np.add.reduceat(positives, groups.starts)
  group_negatives = np.add.reduceat(weights - positives, groups.starts)
  negatives_up_to = np.cumsum(group_negatives)
  num_pairs = negatives_up_to[-1] * np.sum(group_positives)
  if num_pairs <= 0:
    return float('nan')
  outranked = negatives_up_to - 0.5 * group_negatives
  return float(np.sum(group_positives * outranked) / num_pairs)


def entity_roc_aucs(
    scores: np.ndarray, labels: np.ndarray, entities: np.ndarray
) -> EntityAucs:
  """Returns the ROC-AUC inside each entity; all arguments are [n]."""
  order = np.lexsort((scores, entities))
  sorted_entities = entities[order]
  labels = np.asarray(labels, np.float64)[order]
  group_starts = _starts(sorted_entities, scores[order])
  entity_starts = _starts(sorted_entities)
  if not entity_starts.size:
    return EntityAucs(sorted_entities, labels, np.zeros(0, np.int64))
  group_positives = np.add.reduceat(labels, group_starts)
  group_negatives = np.add.reduceat(1.0 - labels, group_starts)
  # Every entity starts a tie group, so this finds its first one.
  first_groups = np.searchsorted(group_starts, entity_starts)
  num_positives = np.add.reduceat(group_positives, first_groups)
  num_negatives = np.add.reduceat(group_negatives, first_groups)
  # Negatives of earlier entities are not outranked by this one's positives.
  before = np.repeat(
      np.cumsum(num_negatives) - num_negatives,
      np.diff(np.append(first_groups, group_starts.size)),
  )
  outranked = np.cumsum(group_negatives) - 0.5 * group_negatives - before
  wins = np.add.reduceat(group_positives * outranked, first_groups)
  num_pairs = num_positives * num_negatives
  aucs = np.full(num_pairs.shape, np.nan)
  np.divide(wins, num_pairs, out=aucs, where=num_pairs > 0)
  return EntityAucs(
      entity=sorted_entities[entity_starts],
      roc_auc=aucs,
      num_rows=np.diff(np.append(entity_starts, labels.size)),
  )


def _starts(*columns: np.ndarray) -> np.ndarray:
  """Returns where a row of the sorted columns differs from the one before."""
  size = columns[0].size
  differs = np.ones(size, bool)
  if size:
    differs[1:] = np.any([c[1:] != c[:-1] for c in columns], axis=0)
  return np.flatnonzero(differs)
