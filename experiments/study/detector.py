"""Detector of degenerate runs: what makes a table worthless is refused.

    identical scores    two runs that were to differ do not
    constant scores     a run that tells no row from another
    random scores       that beat chance: the rows or the metric are biased
    leaks               a label that a feature, or a later event, tells; past
                        features know labels, of the past alone
"""

from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
import itertools

import numpy as np

from experiments import pipeline
from experiments import variants
from experiments.baselines import registry
from experiments.study import run as run_lib
from limaml_jax.data import dataset
from limaml_jax.data.profile import leaks
from limaml_jax.data.profile import roc_auc
from limaml_jax.evaluation import metrics
from limaml_jax.store import lookup

_CONSTANT = 1e-9  # Spread of scores that are all the same, but for a few.
_IDENTICAL = 1e-6  # Most that scores differ by that are the same.
_DEVIATIONS = 4.0  # From chance, in standard errors: 1 in 16,000 by luck.
_TOO_GOOD = 0.99  # ROC-AUC that nothing earlier than the label gives.

Outcomes = Mapping[str, Sequence[run_lib.Outcome]]  # By label, one per seed.


def find(outcomes: Outcomes) -> list[str]:
  """Returns why the tables of these runs are refused, one line a reason."""
  reasons = []
  for label, parts in outcomes.items():
    for part in parts:
      name = f'{label}, seed {part.seed}'
      reasons += _find_in_one(name, part)
    if parts and parts[0].run.variant == run_lib.RANDOM:
      reasons += _find_biased(label, parts)
    reasons += _find_unseeded(label, parts)
  for (one, parts), (other, others) in itertools.combinations(
      outcomes.items(), 2
  ):
    for first, second in zip(parts, others, strict=False):
      may_equal = first.run.may_equal or second.run.may_equal
      if first.key == second.key or may_equal:
        continue
      if _same(first, second):
        reasons.append(
            f'{one} and {other} give identical scores under seed {first.seed}:'
            ' what tells them apart has no effect'
        )
  return reasons


def find_leaks(
    data: pipeline.Dataset, past: Collection[str] = ()
) -> list[str]:
  """Returns the features that tell the label by themselves, one line each.

  Args:
    data: dataset.
    past: features made of earlier events, which may tell as much as they can.
  """
  table, info = data.table, data.info
  owners = dataset.event_owners(table)
  reasons = []
  for spec in info.features:
    if spec.name in (info.entity_feature, info.item_feature, *past):
      continue
    score = _score_alone(spec, table, owners)
    if score is not None and score > leaks.SUSPICIOUS:
      reasons.append(
          f'{info.name}: feature {spec.name} alone has ROC-AUC {score:.3f}'
          ' against the label: it leaks; take it out of the schema'
      )
  return reasons


def _find_in_one(name: str, outcome: run_lib.Outcome) -> list[str]:
  rows = outcome.scores
  if rows is None or not rows.score.size:
    return []
  reasons = []
  low, middle, high = np.quantile(rows.score, (0.01, 0.5, 0.99))
  if high - low < _CONSTANT:
    reasons.append(f'{name}: all scores are {middle:.6f}')
  known = (rows.status == int(lookup.Status.PRESENT)) & (rows.support_size > 0)
  early = known & (rows.age_seconds == 0)
  if early.any():
    row = int(np.argmax(early))
    reasons.append(
        f'{name}: row {row} was served an embedding made of events that are'
        ' not earlier than it: the label leaks'
    )
  quality = _roc_auc(outcome)
  if quality is not None and max(quality, 1 - quality) > _TOO_GOOD:
    reasons.append(
        f'{name}: ROC-AUC {quality:.4f} is too good to be true: the label'
        ' leaks'
    )
  return reasons


def _find_biased(
    label: str, parts: Sequence[run_lib.Outcome]
) -> list[str]:
  """Judges random scores against the exact spread of chance."""
  deviations = []
  for part in parts:
    quality = _roc_auc(part)
    if part.scores is None or quality is None:
      continue
    positives = float(np.sum(part.scores.label))
    negatives = part.scores.label.size - positives
    # Of the rank sum of scores that know nothing of the labels.
    error = np.sqrt(
        (positives + negatives + 1) / (12.0 * positives * negatives)
    )
    deviations.append((quality - 0.5) / error)
  if not deviations:
    return []
  # Seeds draw independently: their sum spreads by the root of their number.
  total = sum(deviations) / np.sqrt(len(deviations))
  if total <= _DEVIATIONS:
    return []
  return [
      f'{label}: random scores are {total:.1f} standard errors above chance:'
      ' rows or metric are biased'
  ]


def _find_unseeded(
    label: str, parts: Sequence[run_lib.Outcome]
) -> list[str]:
  """Finds seeds that make no difference where they should."""
  seeded = {*variants.TRAINED, *registry.REGISTRY} - registry.SEEDLESS
  if not parts or parts[0].run.variant not in seeded:
    return []
  return [
      f'{label}: seeds {one.seed} and {other.seed} give identical scores'
      for one, other in itertools.combinations(parts, 2)
      if _same(one, other)
  ]


def _same(one: run_lib.Outcome, other: run_lib.Outcome) -> bool:
  if one.scores is None or other.scores is None:
    return False
  scores = one.scores.score, other.scores.score
  if scores[0].shape != scores[1].shape:  # Of other rows.
    return False
  difference = np.abs(scores[0] - scores[1])
  return bool(np.max(difference, initial=0.0) < _IDENTICAL)


def _roc_auc(outcome: run_lib.Outcome) -> float | None:
  if outcome.scores is None:
    return None
  columns = (outcome.scores.score, outcome.scores.label)
  return metrics.RocAuc.from_scores(*columns).compute()


def _score_alone(
    spec, table: dataset.TaskTable, owners: np.ndarray
) -> float | None:
  """Returns the ROC-AUC of a feature; rates are those of other entities."""
  labels = table.labels
  if spec.name in table.event_features:
    values = table.event_features[spec.name]
  else:
    values = table.entity_features[spec.name][owners]
  if spec.kind == 'numeric':
    return roc_auc.of_numbers(values.astype(np.float64), labels)
  rows = np.arange(labels.size)
  if values.ndim > 1:
    rows = np.repeat(rows, values.shape[1])
  values = values.ravel()
  real = values >= 0
  return roc_auc.of_categories(values[real], rows[real], labels, owners % 2)
