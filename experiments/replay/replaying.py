"""Replaying: impressions through contenders, and what that tells of them."""

from collections.abc import Callable
from collections.abc import Sequence
import logging
from typing import NamedTuple

import numpy as np

from experiments.replay import cohorts as cohorts_lib
from experiments.replay import contender as contender_lib
from experiments.replay import impressions as impressions_lib
from experiments.replay import report as report_lib
from experiments.replay import verdict as verdict_lib
from limaml_jax.evaluation import comparison
from limaml_jax.evaluation import scores as scores_lib
from limaml_jax.store import lookup

_LOGGER = logging.getLogger(__name__)
_SEED = 0  # Of the draws: the same command gives the same intervals.

OnProgress = Callable[[int, int], None]


class Replayed(NamedTuple):
  """Impressions and what each contender says of them.

  Attributes:
    entities: keys, each once.
    entity: which of them, [c].
    items: keys, [c].
    times: UTC seconds, [c].
    labels: 0 or 1, [c].
    scored: by each contender, leaves [c].
  """

  entities: list[str]
  entity: np.ndarray
  items: list[str]
  times: np.ndarray
  labels: np.ndarray
  scored: tuple[contender_lib.Scored, ...]

  def variant(self, number: int) -> scores_lib.Scores:
    """Returns the rows of one contender; no support sizes are known."""
    scored = self.scored[number]
    unknown = np.zeros_like(self.entity)
    return scores_lib.Scores(
        entity=self.entity,
        day=unknown,
        label=self.labels,
        score=scored.scores,
        support_size=unknown,
        age_seconds=scored.ages,
        status=scored.statuses,
    )


def replay(
    contenders: Sequence[contender_lib.Contender],
    impressions: impressions_lib.Impressions,
    on_progress: OnProgress = lambda done, total: None,
) -> Replayed:
  """Scores impressions with each contender.

  Args:
    contenders: one or two.
    impressions: of a log.
    on_progress: told how many of how many are scored.

  Raises:
    InputError: if the log does not fit a bundle, or a store falls silent.
  """
  for contender in contenders:
    contender.check(impressions)
  row_of: dict[str, int] = {}
  entity, items, times, labels = [], [], [], []
  scored: list[list[contender_lib.Scored]] = [[] for _ in contenders]
  done, total = 0, impressions.rows.num_events
  on_progress(done, total)
  for rows in impressions_lib.slices(impressions, contender_lib.MAX_ROWS):
    numbers = [row_of.setdefault(key, len(row_of)) for key in rows.entities]
    entity.append(np.repeat(numbers, rows.counts))
    items += rows.items
    times.append(rows.times)
    labels.append(rows.labels)
    for parts, contender in zip(scored, contenders, strict=True):
      parts.append(contender.score(rows))
    done += len(rows.items)
    on_progress(done, total)
  return Replayed(
      entities=list(row_of),
      entity=np.concatenate(entity),
      items=items,
      times=np.concatenate(times),
      labels=np.concatenate(labels),
      scored=tuple(
          contender_lib.Scored(*map(np.concatenate, zip(*parts, strict=True)))
          for parts in scored
      ),
  )


def report(
    contenders: Sequence[contender_lib.Contender],
    impressions: impressions_lib.Impressions,
    replayed: Replayed,
    rule: verdict_lib.Rule,
    *,
    num_replicates: int,
    on_progress: OnProgress = lambda done, total: None,
) -> report_lib.Report:
  """Compares the contenders, overall and by cohort.

  Args:
    contenders: that scored.
    impressions: that they scored.
    replayed: what they said.
    rule: under which B may replace A.
    num_replicates: draws behind each interval.
    on_progress: told how many of how many comparisons are made.
  """
  variants = [replayed.variant(n) for n in range(len(contenders))]
  masks = cohorts_lib.find(replayed.entity, replayed.scored)
  total = 1 + sum(map(len, masks.values()))
  done = 0

  def compare(mask):
    nonlocal done
    found = comparison.compare(
        [scores_lib.select(rows, mask) for rows in variants],
        np.random.default_rng(_SEED),
        num_replicates=num_replicates,
    )
    done += 1
    on_progress(done, total)
    return found

  overall = compare(np.ones(replayed.entity.size, bool))
  bundles = {
      name: _facts(contender, scored)
      for name, contender, scored in zip(
          'AB'[: len(contenders)], contenders, replayed.scored, strict=True
      )
  }
  _warn(bundles, replayed.entity.size)
  leaks = [facts['num_older_than_snapshot'] for facts in bundles.values()]
  return report_lib.Report(
      bundles=bundles,
      log={
          'files': list(impressions.files),
          'num_rows': impressions.num_log_rows,
          'rejected': impressions.rejected,
          'num_impressions': replayed.entity.size,
          'num_entities': len(replayed.entities),
          'first': int(replayed.times.min()),
          'last': int(replayed.times.max()),
          'label_rate': float(replayed.labels.mean()),
      },
      overall=overall,
      cohorts={
          group: {name: compare(mask) for name, mask in parts.items()}
          for group, parts in masks.items()
      },
      verdict=verdict_lib.judge(overall, leaks, rule)
      if len(contenders) == 2
      else None,
  )


def _facts(contender, scored):
  return {
      'bundle': str(contender.root),
      'version': contender.manifest.version,
      'fingerprint': contender.manifest.fingerprint,
      'store': contender.store,
      'snapshot': contender.snapshot,
      'cutoff': contender.cutoff,
      'num_older_than_snapshot': int(scored.leaks.sum()),
      'num_unknown_items': int((~scored.known).sum()),
      'statuses': {
          status.name: int((scored.statuses == status).sum())
          for status in lookup.Status
      },
  }


def _warn(bundles, num_rows):
  """Says what makes the figures other than they seem."""
  for name, facts in bundles.items():
    leaks = facts['num_older_than_snapshot']
    if leaks:
      _LOGGER.warning(
          '%s: LEAK: %d of %d impressions are older than the cutoff of snapshot'
          ' %s: its embeddings may have been made of their labels; replay later'
          ' impressions (--start), or publish an earlier snapshot',
          name, leaks, num_rows, facts['snapshot'],
      )  # fmt: skip
    if facts['statuses']['VERSION_MISMATCH']:
      _LOGGER.warning(
          '%s: no version of %s is of the model of snapshot %s: the default'
          ' embedding scores, as it would online; publish one of its model',
          name, facts['bundle'], facts['snapshot'],
      )  # fmt: skip
