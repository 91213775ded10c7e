"""Scorers: how a run's test rows get their scores, by name."""

from collections.abc import Callable
from collections.abc import Mapping
import functools
import pathlib
import shutil
import tempfile
from typing import Any
from typing import NamedTuple

import numpy as np

from experiments import closed_form
from experiments import pipeline
from experiments import variants
from experiments.baselines import registry
from experiments.baselines import request as request_lib
from experiments.study import cost
from experiments.study import per_row
from experiments.study import run as run_lib
from experiments.study import training
from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax.evaluation import baselines
from limaml_jax.evaluation import replay
from limaml_jax.evaluation import scores as scores_lib

Facts = dict[str, float | None]
# (dataset, run directory, options, progress) -> scores and facts.
Scorer = Callable[
    [pipeline.Dataset, pathlib.Path, Mapping[str, Any], pipeline.OnProgress],
    tuple[scores_lib.Scores, Facts],
]


class Job(NamedTuple):
  """One run under one seed, ready to be scored.

  Attributes:
    run: what is asked for.
    config: its settings.
    data: its dataset.
    seed: of training.
  """

  run: run_lib.Run
  config: config_lib.Config
  data: pipeline.Dataset
  seed: int

  def key(self) -> str:
    """Returns what names its scores."""
    run = self.run
    if _is_trained(run.variant):
      made_by = training.key(self.config, self.data)
      adapted = run.variant != variants.UNADAPTED
      return run_lib.digest(made_by, adapted, run.scorer, dict(run.options))
    config = variants.with_seed(self.config, self.fitted_seed)
    return run_lib.digest(
        run.variant, training.key(config, self.data), self.fitted_seed,
        dict(run.options),
    )

  @property
  def fitted_seed(self) -> int:
    """The seed, or the one for all where seeds make no difference."""
    one_for_all = registry.SEEDLESS.union(baselines.NAMES)
    return 0 if self.run.variant in one_for_all else self.seed


def score(
    job: Job, workdir: pathlib.Path, on_progress: Callable[..., None]
) -> tuple[scores_lib.Scores, Facts]:
  """Trains where that is needed, and scores.

  Args:
    job: what to do.
    workdir: of all studies.
    on_progress: told (stage, done, total).

  Raises:
    InputError: for an unknown variant or scorer, or whatever they refuse.
  """
  run, data = job.run, job.data
  if run.variant == run_lib.RANDOM:
    return _random(data, job.seed), {}
  if run.variant in baselines.NAMES:
    return closed_form.score(data)[run.variant], {}
  if not _is_trained(run.variant):
    fn = find_baseline(run.variant)
    folder = workdir / 'baselines' / job.key()
    update = functools.partial(on_progress, 'score')
    request = request_lib.Request(
        data, job.config, job.fitted_seed, folder, update
    )
    return fn(request), {}
  if run.scorer not in SCORERS:
    raise errors.InputError(
        f'scorer {run.scorer}: unknown; choose one of {", ".join(SCORERS)}'
    )
  run_dir, facts = training.train(
      job.config, data, workdir, functools.partial(on_progress, 'train')
  )
  options = dict(run.options)
  if run.variant == variants.UNADAPTED:
    options['adapt'] = False
  scores, more = SCORERS[run.scorer](
      data, run_dir, options, functools.partial(on_progress, 'score')
  )
  return scores, facts | more


def _is_trained(variant: str) -> bool:
  return variant in (*variants.TRAINED, variants.UNADAPTED)


def _random(data: pipeline.Dataset, seed: int) -> scores_lib.Scores:
  """Scores the test rows at random, whatever they are."""
  rows = closed_form.score(data)[baselines.ITEM_PRIOR]
  rng = np.random.default_rng([seed, 1])
  return rows._replace(score=rng.random(rows.score.size))


def find_baseline(name: str) -> registry.ScoreFn:
  """Returns the scorer of a baseline that the registry holds.

  Raises:
    InputError: for a name that no variant has.
  """
  if name not in registry.REGISTRY:
    known = [
        *variants.TRAINED, variants.UNADAPTED, run_lib.RANDOM,
        *baselines.NAMES, *registry.REGISTRY,
    ]  # fmt: skip
    raise errors.InputError(
        f'variant {name}: unknown; choose one of {", ".join(known)}'
    )
  return registry.REGISTRY[name]


def _serve(
    data: pipeline.Dataset,
    run_dir: pathlib.Path,
    options: Mapping[str, Any],
    on_progress: pipeline.OnProgress,
) -> tuple[scores_lib.Scores, Facts]:
  """Scores as served: refresh, publish, read back, score.

  Options: `adapt`; `hours` between refreshes and `delay_hours` of what they
  use, see `replay.make_schedule`; `skip`, leading refreshes of the protocol
  whose rows are left out; `cost`, whether facts tell what refreshes take.
  """
  schedule = None
  if 'hours' in options or 'delay_hours' in options:
    schedule = replay.make_schedule(
        data.info,
        hours=options.get('hours', 0),
        delay_hours=options.get('delay_hours', 0),
    )
  # What is replayed is of no use afterwards.
  store = pathlib.Path(tempfile.mkdtemp(dir=run_dir, prefix='replay_'))
  try:
    served = pipeline.restore(
        data, run_dir, store=store, adapt=options.get('adapt', True)
    )
    scores = pipeline.evaluate_as_served(
        data, served, store, on_progress, schedule=schedule
    )
  finally:
    shutil.rmtree(store)
  facts: Facts = {}
  if options.get('cost'):
    facts = cost.measure(data, served, schedule)
  return _skip(scores, options.get('skip', 0)), facts


def _score_per_row(data, run_dir, options, on_progress):
  """Scores by adapted weights; options: `skip`, as of `served`."""
  scores, facts = per_row.score(data, run_dir, on_progress)
  return _skip(scores, options.get('skip', 0)), facts


def _skip(scores: scores_lib.Scores, num_days: int) -> scores_lib.Scores:
  """Leaves out the rows of the first refreshes; the others count from 0."""
  kept = scores_lib.select(scores, scores.day >= num_days)
  return kept._replace(day=kept.day - num_days)


SCORERS: dict[str, Scorer] = {'served': _serve, 'per_row': _score_per_row}
