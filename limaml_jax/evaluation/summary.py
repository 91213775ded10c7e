"""Summary of an evaluation: the numbers that summary.json and reports hold."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NotRequired
from typing import TypedDict
from typing import TypeVar

import numpy as np

from limaml_jax.evaluation import bootstrap
from limaml_jax.evaluation import cohorts as cohorts_lib
from limaml_jax.evaluation import metrics
from limaml_jax.evaluation import scores as scores_lib

Bounds = list[float] | None


class CohortSummary(TypedDict):
  """Quality inside one cohort; None where undefined."""

  num_rows: int
  roc_auc: float | None


class Quality(TypedDict):
  """Every metric of some rows; None where undefined.

  `gauc` ranks all rows of an entity, `gauc_by_refresh` those that one refresh
  served: past labels in an embedding speak against the labels that are left.
  """

  roc_auc: float | None
  gauc: float | None
  gauc_by_refresh: float | None
  normalized_entropy: float | None
  log_loss: float | None
  calibration: float | None


class VariantSummary(Quality):
  """Quality of one variant, with intervals, and by cohort."""

  num_rows: int
  intervals: dict[str, Bounds]
  cohorts: dict[str, CohortSummary]
  seeds: NotRequired[dict[str, list[float | None]]]


class CohortDifference(TypedDict):
  """Paired ROC-AUC difference inside one cohort, with its interval."""

  roc_auc: float | None
  interval: Bounds


class DifferenceSummary(TypedDict):
  """Paired ROC-AUC difference of two variants, with its interval."""

  roc_auc: float | None
  interval: Bounds
  cohorts: dict[str, CohortDifference]
  seeds: NotRequired[dict[str, list[float | None]]]


class Summary(TypedDict):
  """All of summary.json.

  `variants` are in the order of tables; `differences` are keyed
  'first - second'; `seconds` by stage; `command` made it all.
  """

  dataset: str
  num_interactions: int
  num_entities: int
  protocol: str
  seeds: list[int]
  variants: dict[str, VariantSummary]
  differences: dict[str, DifferenceSummary]
  seconds: dict[str, float]
  command: NotRequired[str]


_Part = TypeVar('_Part', VariantSummary, DifferenceSummary)


def quality(rows: scores_lib.Scores) -> Quality:
  """Returns every metric of scored rows."""
  columns = (rows.score, rows.label)
  return {
      'roc_auc': _roc_auc(rows),
      'gauc': metrics.Gauc.from_scores(*columns, rows.entity).compute(),
      'gauc_by_refresh': metrics.Gauc.from_scores(
          *columns, scores_lib.refresh_groups(rows)
      ).compute(),
      'normalized_entropy': (
          metrics.NormalizedEntropy.from_scores(*columns).compute()
      ),
      'log_loss': metrics.LogLoss.from_scores(*columns).compute(),
      'calibration': metrics.Calibration.from_scores(*columns).compute(),
  }


def summarize(
    rows: scores_lib.Scores, rng: np.random.Generator
) -> VariantSummary:
  """Returns the quality of one variant from its scored rows."""
  intervals = bootstrap.intervals(rows, rng)
  masks = cohorts_lib.masks(rows.support_size)
  return {
      **quality(rows),
      'num_rows': int(rows.label.size),
      'intervals': {
          name: _bounds(interval)
          for name, interval in intervals._asdict().items()
      },
      'cohorts': {
          name: {
              'num_rows': int(np.sum(mask)),
              'roc_auc': _roc_auc(scores_lib.select(rows, mask)),
          }
          for name, mask in masks.items()
      },
  }


def difference(
    first: scores_lib.Scores,
    second: scores_lib.Scores,
    rng: np.random.Generator,
) -> DifferenceSummary:
  """Returns the paired ROC-AUC gain of `first` over `second`.

  Raises:
    InputError: if the two do not hold the same rows.
  """
  whole = _difference(first, second, rng)
  masks = cohorts_lib.masks(first.support_size)
  return {
      **whole,
      'cohorts': {
          name: _difference(
              scores_lib.select(first, mask),
              scores_lib.select(second, mask),
              rng,
          )
          for name, mask in masks.items()
      },
  }


def mean_over_seeds(parts: Sequence[_Part]) -> _Part:
  """Returns the mean of summaries of the same rows, one per training seed.

  Bounds of intervals are averaged too: they tell what other entities might
  have shown, not what other seeds would; for that, each seed's own headline
  stands under 'seeds'. A number that any seed lacks is None.

  Raises:
    ValueError: if the summaries are of different rows, or there is none.
  """
  if not parts:
    raise ValueError('no summary to average')
  mean = _mean(parts)
  mean['seeds'] = {
      name: [part.get(name) for part in parts]
      for name in ('roc_auc', 'gauc')
      if name in parts[0]
  }
  return mean


def _mean(values: Sequence[Any]) -> Any:
  first = values[0]
  if any(value is None for value in values):
    return None
  if isinstance(first, Mapping):
    return {
        name: _mean([value[name] for value in values])
        for name in first
        if name != 'seeds'
    }
  if isinstance(first, list):
    return [_mean(column) for column in zip(*values, strict=True)]
  if isinstance(first, int):
    if any(value != first for value in values):
      raise ValueError(f'the seeds scored different rows: {list(values)}')
    return first
  return float(np.mean(values))


def _difference(
    first: scores_lib.Scores,
    second: scores_lib.Scores,
    rng: np.random.Generator,
) -> CohortDifference:
  result = bootstrap.paired_difference(first, second, rng)
  return {'roc_auc': result.roc_auc, 'interval': _bounds(result.interval)}


def _bounds(interval: bootstrap.Interval | None) -> Bounds:
  return None if interval is None else list(interval)


def _roc_auc(rows: scores_lib.Scores) -> float | None:
  return metrics.RocAuc.from_scores(rows.score, rows.label).compute()
