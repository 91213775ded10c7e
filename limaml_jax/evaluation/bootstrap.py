"""Intervals by resampling entities, the unit that rows depend on each other in.

A replicate draws as many entities as there are, with replacement; how often an
entity was drawn weighs its rows. Two variants are compared on the same draws.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from limaml_jax import errors
from limaml_jax.evaluation import ranking
from limaml_jax.evaluation import scores as scores_lib

# An interval of fewer replicates would describe only the lucky draws.
_MIN_DEFINED = 0.9


class Interval(NamedTuple):
  """Central interval of a statistic over the replicates."""

  low: float
  high: float


class Intervals(NamedTuple):
  """Intervals of one variant; None where the statistic is undefined."""

  roc_auc: Interval | None
  gauc: Interval | None


class Difference(NamedTuple):
  """Paired difference of two variants on the same rows.

  Attributes:
    roc_auc: of the first minus that of the second; None if undefined.
    interval: of the difference; None if undefined.
  """

  roc_auc: float | None
  interval: Interval | None


class SortedRows(NamedTuple):
  """Rows sorted by score, with the entity that each one belongs to."""

  groups: ranking.TieGroups
  entity_of_row: np.ndarray  # In the order of `groups.order`.

  def roc_auc(self, multiplicity: np.ndarray) -> float:
    """Returns ROC-AUC with each entity's rows repeated so often, [N]."""
    return ranking.roc_auc(self.groups, multiplicity[self.entity_of_row])


def intervals(
    rows: scores_lib.Scores,
    rng: np.random.Generator,
    *,
    num_replicates: int = 200,
    level: float = 0.95,
) -> Intervals:
  """Returns the intervals of ROC-AUC and GAUC.

  Args:
    rows: scored rows of one variant.
    rng: source of the draws.
    num_replicates: draws.
    level: share of the replicates inside the interval.
  """
  # Ascending entities on both sides: index n is the same entity.
  entities, entity_of_row = np.unique(rows.entity, return_inverse=True)
  by_entity = ranking.entity_roc_aucs(rows.score, rows.label, rows.entity)
  defined = ~np.isnan(by_entity.roc_auc)
  gauc_weights = np.where(defined, by_entity.num_rows, 0)
  gauc_wins = gauc_weights * np.nan_to_num(by_entity.roc_auc)
  variant = sort_rows(rows, entity_of_row)
  roc_aucs, gaucs = [], []
  for multiplicity in draws(entities.size, rng, num_replicates):
    roc_aucs.append(variant.roc_auc(multiplicity))
    weight = np.sum(multiplicity * gauc_weights)
    wins = np.sum(multiplicity * gauc_wins)
    gaucs.append(wins / weight if weight > 0 else np.nan)
  return Intervals(
      central_interval(roc_aucs, level), central_interval(gaucs, level)
  )


def paired_difference(
    first: scores_lib.Scores,
    second: scores_lib.Scores,
    rng: np.random.Generator,
    *,
    num_replicates: int = 200,
    level: float = 0.95,
) -> Difference:
  """Returns the ROC-AUC of `first` minus that of `second`, with its interval.

  Args:
    first: scored rows of one variant.
    second: the same rows in the same order, scored by another.
    rng: source of the draws.
    num_replicates: draws.
    level: share of the replicates inside the interval.

  Raises:
    InputError: if the two do not hold the same rows.
  """
  refuse_different_rows(first, second)
  entities, entity_of_row = np.unique(first.entity, return_inverse=True)
  variants = [sort_rows(rows, entity_of_row) for rows in (first, second)]
  ones = np.ones(entities.size)
  whole = variants[0].roc_auc(ones) - variants[1].roc_auc(ones)
  differences = [
      variants[0].roc_auc(multiplicity) - variants[1].roc_auc(multiplicity)
      for multiplicity in draws(entities.size, rng, num_replicates)
  ]
  return Difference(
      roc_auc=None if np.isnan(whole) else whole,
      interval=central_interval(differences, level),
  )


def sort_rows(
    rows: scores_lib.Scores, entity_of_row: np.ndarray
) -> SortedRows:
  """Sorts rows; `entity_of_row`, [n], counts entities from 0 to N - 1."""
  groups = ranking.tie_groups(rows.score, rows.label)
  return SortedRows(groups, entity_of_row[groups.order])


def draws(
    num_entities: int, rng: np.random.Generator, num_replicates: int
) -> Iterator[np.ndarray]:
  """Yields how often each entity was drawn, [N]; nothing below 2 entities."""
  if num_entities < 2:
    return
  for _ in range(num_replicates):
    drawn = rng.integers(num_entities, size=num_entities)
    counts = np.bincount(drawn, minlength=num_entities)
    yield counts.astype(np.float64)


def central_interval(
    replicates: Sequence[float] | np.ndarray, level: float
) -> Interval | None:
  """Returns the middle of the replicates, [draws]; None if many are nan."""
  values = np.asarray(replicates)
  defined = values[~np.isnan(values)]
  if not values.size or defined.size < _MIN_DEFINED * values.size:
    return None
  tail = 50.0 * (1.0 - level)  # Per cent on each side.
  low, high = np.percentile(defined, [tail, 100.0 - tail])
  return Interval(float(low), float(high))


def refuse_different_rows(
    first: scores_lib.Scores, second: scores_lib.Scores
) -> None:
  """Raises InputError if two variants do not hold the same rows."""
  if first.entity.size != second.entity.size:
    raise errors.InputError(
        f'cannot pair {first.entity.size} rows with {second.entity.size}; '
        'score both variants on the same test rows'
    )
  for name in ('entity', 'day', 'label'):
    same = getattr(first, name) == getattr(second, name)
    if not np.all(same):
      raise errors.InputError(
          f'row {int(np.argmin(same))}: {name} differs between the variants; '
          'score both on the same test rows in the same order'
      )
