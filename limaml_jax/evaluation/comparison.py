"""Comparison: every metric of the same rows scored by one variant or by two.

Intervals come from resampling entities, as `bootstrap` has it; both variants
are weighed by the same draws, so that their difference is a paired one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from limaml_jax.evaluation import bootstrap
from limaml_jax.evaluation import metrics
from limaml_jax.evaluation import ranking
from limaml_jax.evaluation import scores as scores_lib

METRICS = (
    'roc_auc', 'gauc', 'gauc_by_refresh', 'normalized_entropy', 'calibration',
    'log_loss',
)  # fmt: skip


class Figure(NamedTuple):
  """A number and its central interval; None where undefined."""

  value: float | None
  interval: bootstrap.Interval | None


class Comparison(NamedTuple):
  """What some rows say of their variants.

  Attributes:
    num_rows: of each variant.
    num_entities: among them.
    variants: figures of each variant, by metric.
    difference: of the second variant minus the first, by metric; empty where
      there is one variant.
  """

  num_rows: int
  num_entities: int
  variants: tuple[dict[str, Figure], ...]
  difference: dict[str, Figure]


def compare(
    variants: Sequence[scores_lib.Scores],
    rng: np.random.Generator,
    *,
    num_replicates: int = 200,
    level: float = 0.95,
) -> Comparison:
  """Returns all metrics, with intervals.

  Args:
    variants: one, or two that hold the same rows in the same order.
    rng: source of the draws.
    num_replicates: draws.
    level: share of the replicates inside an interval.

  Raises:
    InputError: if two variants do not hold the same rows.
  """
  for other in variants[1:]:
    bootstrap.refuse_different_rows(variants[0], other)
  entities, entity_of_row = np.unique(variants[0].entity, return_inverse=True)
  summed = [Summed(rows, entity_of_row, entities.size) for rows in variants]
  whole = [one.values(np.ones(entities.size)) for one in summed]
  drawn = [
      [one.values(multiplicity) for one in summed]
      for multiplicity in bootstrap.draws(entities.size, rng, num_replicates)
  ]
  # [replicates, variants, metrics]
  replicates = np.asarray(drawn).reshape(-1, len(summed), len(METRICS))
  figures = tuple(
      _figures(values, replicates[:, n], level)
      for n, values in enumerate(whole)
  )
  difference = {}
  if len(summed) == 2:
    difference = _figures(
        whole[1] - whole[0], replicates[:, 1] - replicates[:, 0], level
    )
  return Comparison(
      num_rows=entity_of_row.size,
      num_entities=entities.size,
      variants=figures,
      difference=difference,
  )


class Summed:
  """One variant's rows, summed by entity: a draw weighs the sums."""

  def __init__(
      self,
      rows: scores_lib.Scores,
      entity_of_row: np.ndarray,
      num_entities: int,
  ):
    """Sums; `entity_of_row`, [n], counts entities from 0 to N - 1."""

    def total(values):
      return np.bincount(
          entity_of_row, np.asarray(values, np.float64), num_entities
      )

    self._sorted = bootstrap.sort_rows(rows, entity_of_row)
    # By metric: rows, and rows times ROC-AUC, of the groups of each entity.
    self._ranked = {}
    for name, group in (
        ('gauc', rows.entity),
        ('gauc_by_refresh', scores_lib.refresh_groups(rows)),
    ):
      _, first = np.unique(group, return_index=True)  # Ascending, as found.
      found = ranking.entity_roc_aucs(rows.score, rows.label, group)
      counts = np.where(np.isnan(found.roc_auc), 0, found.num_rows)
      wins = counts * np.nan_to_num(found.roc_auc)
      self._ranked[name] = [
          np.bincount(entity_of_row[first], values, num_entities)
          for values in (counts, wins)
      ]
    self._num_rows = total(np.ones(entity_of_row.size))
    self._positives = total(rows.label)
    self._scores = total(rows.score)
    self._losses = total(metrics.log_losses(rows.score, rows.label))

  def values(self, multiplicity: np.ndarray) -> np.ndarray:
    """Returns all METRICS with entities repeated; nan where undefined."""

    def total(sums):
      return float(np.dot(multiplicity, sums))

    num_rows, positives = total(self._num_rows), total(self._positives)
    log_loss = _ratio(total(self._losses), num_rows)
    mean = _ratio(positives, num_rows)
    entropy = 0.0
    if 0 < mean < 1:
      entropy = -mean * np.log(mean) - (1 - mean) * np.log1p(-mean)
    values = {
        'roc_auc': self._sorted.roc_auc(multiplicity),
        **{
            name: _ratio(total(wins), total(counts))
            for name, (counts, wins) in self._ranked.items()
        },
        'normalized_entropy': _ratio(log_loss, entropy),
        'calibration': _ratio(total(self._scores), positives),
        'log_loss': log_loss,
    }
    return np.asarray([values[name] for name in METRICS])


def _figures(values, replicates, level) -> dict[str, Figure]:
  return {
      name: Figure(
          None if np.isnan(values[n]) else float(values[n]),
          bootstrap.central_interval(replicates[:, n], level),
      )
      for n, name in enumerate(METRICS)
  }


def _ratio(numerator: float, denominator: float) -> float:
  return numerator / denominator if denominator > 0 else float('nan')
