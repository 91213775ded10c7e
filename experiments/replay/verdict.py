"""Verdict: whether bundle B may replace bundle A, under a stated rule."""

from collections.abc import Sequence
from typing import NamedTuple

from limaml_jax.evaluation import comparison as comparison_lib


class Rule(NamedTuple):
  """How much worse B may be.

  Attributes:
    max_loss: of ROC-AUC.
    max_entropy_gain: of normalized entropy, which is better when lower.
    allow_leaks: whether impressions may be older than a snapshot.
  """

  max_loss: float
  max_entropy_gain: float
  allow_leaks: bool


class Verdict(NamedTuple):
  """What follows.

  Attributes:
    accepted: whether B may replace A.
    reasons: each part of the rule in words, with its numbers.
  """

  accepted: bool
  reasons: list[str]


def judge(
    found: comparison_lib.Comparison, leaks: Sequence[int], rule: Rule
) -> Verdict:
  """Applies the rule.

  Args:
    found: A and B on all impressions.
    leaks: impressions that are older than the snapshot, of A and of B.
    rule: to apply.
  """
  roc_auc = found.difference['roc_auc']
  entropy = found.difference['normalized_entropy']
  low = roc_auc.interval.low if roc_auc.interval else None
  high = entropy.interval.high if entropy.interval else None
  parts = [
      (
          low is not None and low >= -rule.max_loss,
          f'ROC-AUC {_difference(roc_auc)}: the lower bound must not be below'
          f' {-rule.max_loss:g} (--max_loss)',
      ),
      (
          high is not None and high <= rule.max_entropy_gain,
          f'normalized entropy {_difference(entropy)}: the upper bound must not'
          f' be above {rule.max_entropy_gain:+g} (--max_entropy_gain)',
      ),
  ]
  if any(leaks):
    counts = ' and '.join(f'{count:,}' for count in leaks)
    parts.append((
        rule.allow_leaks,
        f'{counts} of {found.num_rows:,} impressions are older than the'
        ' snapshots of A and B, which may have been made of them: there must'
        ' be none (--allow_leaks)',
    ))
  reasons = [
      f'{"pass" if passed else "FAIL"}: {text}' for passed, text in parts
  ]
  return Verdict(all(passed for passed, _ in parts), reasons)


def _difference(figure: comparison_lib.Figure) -> str:
  if figure.value is None:
    return 'B - A is undefined'
  if figure.interval is None:
    return f'B - A = {figure.value:+.5f}, without an interval'
  low, high = figure.interval
  return (
      f'B - A = {figure.value:+.5f}, 95 % interval [{low:+.5f}, {high:+.5f}]'
  )
