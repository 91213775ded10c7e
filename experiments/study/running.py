"""Running: every run under every seed, from what is there or anew.

WORKDIR/data/HASH       prepared datasets
WORKDIR/trained/HASH    checkpoints, by settings and data
WORKDIR/scores/HASH     scored rows, by checkpoint and scorer
WORKDIR/embedding_features/HASH
                        embeddings of one checkpoint as features of another's

A run that is interrupted goes on from its checkpoint, a finished one is read.
"""

from collections.abc import Sequence
import itertools
import json
import pathlib
import sys
import time

import jax
import numpy as np

from experiments import pipeline
from experiments import progress
from experiments.study import inputs as inputs_lib
from experiments.study import run as run_lib
from experiments.study import scorers
from limaml_jax import errors
from limaml_jax.evaluation import metrics
from limaml_jax.evaluation import scores as scores_lib

_SCORES_DIR = 'scores'
_SCORES_FILE = 'scores.parquet'
_FACTS_FILE = 'facts.json'


def run_all(
    runs: Sequence[run_lib.Run],
    seeds: Sequence[int],
    *,
    inputs: inputs_lib.Inputs,
) -> dict[str, list[run_lib.Outcome]]:
  """Runs everything; one that fails does not stop the others.

  Args:
    runs: of the study.
    seeds: of each.
    inputs: of the study.

  Returns:
    Outcomes by label, one per seed.
  """
  clock = _Clock(len(runs) * len(seeds))
  outcomes = {run.label: [] for run in runs}
  if len(outcomes) < len(runs):
    raise ValueError('two runs of the study have the same label')
  # Run by run: what was compiled for one seed serves the others, and is let go.
  for run, seed in itertools.product(runs, seeds):
    start = time.perf_counter()
    try:
      job = scorers.Job(run, *inputs.make(run, seed), seed)
      outcome, is_new = _run(job, inputs.workdir, clock)
    except (
        errors.InputError, jax.errors.JaxRuntimeError, ValueError, MemoryError
    ) as error:  # fmt: skip
      reason = (str(error).strip() or repr(error)).splitlines()[0]
      outcome = run_lib.Outcome(run, seed, '', None, {}, reason)
      is_new = True
    outcomes[run.label].append(outcome)
    clock.tell(outcome, time.perf_counter() - start, is_new)
  return outcomes


def _run(
    job: scorers.Job, workdir: pathlib.Path, clock: '_Clock'
) -> tuple[run_lib.Outcome, bool]:
  """Returns the outcome of a job, and whether it was made just now."""
  key = job.key()
  directory = workdir / _SCORES_DIR / key
  path, facts_path = directory / _SCORES_FILE, directory / _FACTS_FILE
  is_new = not path.exists()
  if is_new:
    directory.mkdir(parents=True, exist_ok=True)
    shown = f'{clock.place()} {job.run.label}, seed {job.seed}'
    with progress.stages(shown) as update:
      scores, facts = scorers.score(job, workdir, update)
    pipeline.write_text(facts_path, json.dumps(facts))
    scores_lib.write(path, scores)  # Last, for it says that the rest is there.
  rows = scores_lib.read(path)
  # As replays have them, day by day, so that all runs can be paired.
  rows = scores_lib.select(rows, np.argsort(rows.day, kind='stable'))
  facts = json.loads(facts_path.read_text())
  return run_lib.Outcome(job.run, job.seed, key, rows, facts), is_new


class _Clock:
  """Tells how far the study is, and how long it will take."""

  def __init__(self, total: int):
    self._total = total
    self._done = 0
    self._seconds: list[float] = []

  def place(self) -> str:
    """Returns where the study is."""
    return f'[{self._done + 1}/{self._total}]'

  def tell(
      self, outcome: run_lib.Outcome, seconds: float, is_new: bool
  ) -> None:
    """Says what came of a run."""
    place = self.place()
    self._done += 1
    if is_new:
      self._seconds.append(seconds)
    took = f'{seconds:.0f} s' if is_new else 'from before'
    left = ''
    if self._seconds and self._done < self._total:
      # Runs that are there already are found quickly; nobody knows which.
      mean = sum(self._seconds) / len(self._seconds)
      minutes = mean * (self._total - self._done) / 60
      left = f'; at most about {minutes:.0f} min left'
    print(
        f'{place} {outcome.run.label}, seed {outcome.seed}: '
        f'{_quality(outcome)} ({took}{left})',
        file=sys.stderr,
    )


def _quality(outcome: run_lib.Outcome) -> str:
  if outcome.scores is None:
    return f'FAILED: {outcome.reason}'
  columns = (outcome.scores.score, outcome.scores.label)
  roc_auc = metrics.RocAuc.from_scores(*columns).compute()
  return 'ROC-AUC undefined' if roc_auc is None else f'ROC-AUC {roc_auc:.4f}'
