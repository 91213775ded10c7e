"""Gate: whether a finished snapshot may be published.

Each check compares a number with a bound; one that cannot be made says why.
A snapshot that fails any is kept, unpublished, for people to look at.
"""

import dataclasses
import json
from typing import NamedTuple

import numpy as np

from limaml_jax import errors
from limaml_jax.refresh import distributions
from limaml_jax.refresh import quality as quality_lib
from limaml_jax.store import contents as contents_lib
from limaml_jax.store import vector_dtypes


@dataclasses.dataclass(frozen=True)
class GateConfig:
  """Bounds of the checks.

  Attributes:
    max_missing_fraction: of the entities, that may be without a vector.
    max_norm_ratio: between a quantile of the vectors' norms and that of the
      previous snapshot, either way.
    max_drift: distance between the vectors of a cohort and those of the same
      cohort in the previous snapshot, in standard deviations.
    max_quality_loss: of ROC-AUC against the previous snapshot, as served.
    window_hours: before the cutoff, whose events are scored for it; never
      more than half the time since the previous snapshot.
    max_entities: whose events are scored; drawn by chance if there are more.
  """

  max_missing_fraction: float = 0.0
  max_norm_ratio: float = 2.0
  max_drift: float = 0.5
  max_quality_loss: float = 0.005
  window_hours: float = 24.0
  max_entities: int = 5000

  def __post_init__(self):
    least = {
        'max_missing_fraction': 0,
        'max_norm_ratio': 1,
        'max_drift': 0,
        'max_quality_loss': 0,
        'window_hours': 0.01,
    }
    for name, smallest in least.items():
      value = getattr(self, name)
      if not (np.isfinite(value) and value >= smallest):
        raise errors.InputError(
            f'--{name}={value}: set a number, {smallest} or more; to leave a'
            ' check out, a very large one'
        )


class Check(NamedTuple):
  """One check of a snapshot.

  Attributes:
    name: of the check.
    passed: None if it could not be made.
    value: that was found.
    bound: that it was compared with.
    reason: in a sentence.
  """

  name: str
  passed: bool | None
  value: float | None
  bound: float | None
  reason: str


class Verdict(NamedTuple):
  """All checks of a snapshot."""

  checks: tuple[Check, ...]

  @property
  def passed(self) -> bool:
    """Whether no check failed."""
    return not self.failures

  @property
  def failures(self) -> list[Check]:
    """The checks that failed."""
    return [check for check in self.checks if check.passed is False]

  def to_json(self, **facts: object) -> str:
    """Returns the verdict in JSON, and further facts with it."""
    checks = [
        check._asdict() | {'value': _plain(check.value)}
        for check in self.checks
    ]
    verdict = {**facts, 'passed': self.passed, 'checks': checks}
    return json.dumps(verdict, indent=2, allow_nan=False) + '\n'


def _plain(value: float | None) -> float | str | None:
  """Returns what JSON can hold."""
  if value is None:
    return None
  return float(value) if np.isfinite(value) else str(value)


def judge(
    contents: contents_lib.Contents,
    *,
    expected: int,
    previous: contents_lib.Contents | None,
    cohorts: distributions.Cohorts,
    scored: quality_lib.Scored | None,
    config: GateConfig,
) -> Verdict:
  """Judges a snapshot.

  Args:
    contents: of it.
    expected: number of entities that should have a vector.
    previous: the published snapshot, if there is one.
    cohorts: of the entities of both.
    scored: the latest labelled events, scored with both; None if there are
      none.
    config: the bounds.
  """
  checks = [
      _completeness(contents, expected, config),
      _finite(contents),
      *_against_previous(contents, previous, cohorts, config),
      *_quality(scored, config),
  ]
  return Verdict(tuple(checks))


def _completeness(contents, expected, config):
  missing = 1 - len(contents.keys) / expected if expected else 0.0
  bound = config.max_missing_fraction
  return Check(
      'completeness',
      abs(missing) <= bound,
      missing,
      bound,
      f'{len(contents.keys)} vectors for {expected} entities',
  )


def _finite(contents):
  dtype = contents.manifest.dtype
  finite = vector_dtypes.are_finite(contents.records, dtype)
  number = int(np.count_nonzero(~finite))
  reason = 'all vectors are finite'
  if number:
    first = contents.keys[np.argmin(finite)]
    reason = f'{number} vectors are not finite, that of {first} first'
  return Check('finite', not number, number, 0, reason)


def _against_previous(contents, previous, cohorts, config):
  why = ''
  if previous is None:
    why = 'nothing is published yet'
  elif previous.manifest.fingerprint != contents.manifest.fingerprint:
    why = f'snapshot {previous.manifest.version} is of another model'
  elif not (len(contents.keys) and len(previous.keys)):
    why = 'a snapshot is empty'
  if why:
    return [Check(name, None, None, None, why) for name in ('norm', 'drift')]
  return [
      _norm(contents, previous, config),
      *_drift(contents, previous, cohorts, config),
  ]


def _norm(contents, previous, config):
  ratios = distributions.norm_ratios(contents, previous)
  worst = max(ratios.values(), key=lambda ratio: abs(np.log(ratio)))
  bound = config.max_norm_ratio
  shown = ', '.join(f'{name} x {ratio:.3g}' for name, ratio in ratios.items())
  return Check(
      'norm',
      bool(1 / bound <= worst <= bound),
      worst,
      bound,
      f'norms against snapshot {previous.manifest.version}: {shown}',
  )


def _drift(contents, previous, cohorts, config):
  distances = distributions.drifts(contents, previous, cohorts)
  for cohort, distance in distances.items():
    name = f'drift of {cohort}'
    if distance is None:
      yield Check(name, None, None, config.max_drift, 'too few entities')
    else:
      yield Check(
          name,
          bool(distance <= config.max_drift),
          distance,
          config.max_drift,
          f'{distance:.3g} standard deviations from snapshot'
          f' {previous.manifest.version}',
      )


def _quality(scored, config):
  if scored is None:
    why = 'no labelled events in the window'
    return [Check('quality', None, None, None, why)]
  checks = []
  for name, compared in scored.compared().items():
    bound = -config.max_quality_loss
    if compared.interval is None:
      checks.append(Check(name, None, None, bound, 'ROC-AUC is undefined'))
      continue
    low, high = compared.interval
    # Worse by more than the bound, and not by chance.
    worse = compared.difference < bound and high < 0
    checks.append(
        Check(
            name,
            not worse,
            compared.difference,
            bound,
            f'ROC-AUC {compared.roc_auc:.4f}, {compared.difference:+.4f}'
            f' [{low:+.4f}, {high:+.4f}] against {compared.against}, on'
            f' {scored.num_rows} events {compared.condition}',
        )
    )
  return checks
