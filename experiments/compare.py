"""Compares all variants as served: trains, refreshes, evaluates, reports.

    python -m experiments.compare --config=experiments/configs/kuairand.py \
        --data=runs/kuairand/tasks --workdir=runs/kuairand --seeds=0,1,2

Leaves summary.json and report.html in the workdir, and prints the table. What
an earlier run finished is reused; an interrupted one is resumed.
"""

import json
import pathlib
import shlex
import sys
import time

from absl import flags
import numpy as np
from rich import console as rich_console

from experiments import binary
from experiments import config_flag
from experiments import pipeline
from experiments import progress
from experiments import variants
from limaml_jax.data import dataset
from limaml_jax.evaluation import baselines
from limaml_jax.evaluation import replay
from limaml_jax.evaluation import report
from limaml_jax.evaluation import scores as scores_lib
from limaml_jax.evaluation import summary as summary_lib
from limaml_jax.evaluation import tables
from limaml_jax.store import lookup
from limaml_jax.training import loop
from limaml_jax.training import writers

_DATA = flags.DEFINE_string(
    'data', None, 'Dataset that `prepare` made.', required=True
)
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Receives everything.', required=True
)
_SEEDS = flags.DEFINE_list('seeds', ['0'], 'Training seeds to average over.')
_SUMMARY_FILE = 'summary.json'
_REPORT_FILE = 'report.html'
_BOOTSTRAP_SEED = 0
_SECONDS_FILE = 'seconds.json'
# Pseudo-events of the closed-form baselines; chosen on validation days by
# `python -m experiments.search --variant=user_bias`.
_ITEM_STRENGTH = 20.0
_USER_STRENGTH = 1.0
_DIFFERENCES = (
    (variants.LIMAML, variants.WIDE_DEEP_ID),
    (variants.LIMAML, variants.UNADAPTED),
    (variants.LIMAML, variants.FIRST_ORDER),
    (variants.LIMAML, variants.GLOBAL),
)
_ORDER = (
    baselines.ITEM_PRIOR,
    baselines.USER_BIAS,
    variants.GLOBAL,
    variants.WIDE_DEEP_ID,
    variants.UNADAPTED,
    variants.FIRST_ORDER,
    variants.LIMAML,
)


def main() -> None:
  """Runs the comparison of --config on --data."""
  workdir = pathlib.Path(_WORKDIR.value)
  data = pipeline.load(_DATA.value)
  seeds = [int(seed) for seed in _SEEDS.value]
  clock = _Clock(workdir)
  scores = _closed_form_scores(data, len(seeds))
  for name in variants.TRAINED:
    scores[name] = [_run(data, workdir, name, seed, clock) for seed in seeds]
  scores[variants.UNADAPTED] = [
      _serve(data, workdir, variants.LIMAML, seed, clock, adapt=False)
      for seed in seeds
  ]
  scores = {name: scores[name] for name in _ORDER}
  with clock.stage('summarize'):
    summary = _summarize(data.info, seeds, scores)
  summary['seconds'] = clock.seconds
  _write(workdir / _SUMMARY_FILE, json.dumps(summary, indent=2))
  curves = {
      name: writers.read_metrics(_run_dir(workdir, name, seeds[0]))
      for name in variants.TRAINED
  }
  first_seed = {name: parts[0] for name, parts in scores.items()}
  report_path = workdir / _REPORT_FILE
  report.write_report(report_path, summary, curves, first_seed)
  console = rich_console.Console(
      width=None if sys.stdout.isatty() else 120
  )
  console.print(tables.table(summary))
  print(f'Report: {report_path}')


def _run(data, workdir, name, seed, clock) -> scores_lib.Scores:
  """Trains a variant where it is not yet trained, and evaluates it."""
  config = config_flag.resolve(name)
  config = pipeline.with_seed(config, seed)
  run_dir = _run_dir(workdir, name, seed)
  with (
      clock.stage(f'train {name}'),
      progress.bar(f'train {name}, seed {seed}') as update,
  ):
    loop.train(config, data.table, data.info, run_dir, on_progress=update)
  return _serve(data, workdir, name, seed, clock, adapt=True)


def _serve(data, workdir, name, seed, clock, *, adapt) -> scores_lib.Scores:
  """Evaluates a trained variant as served, unless its scores are there."""
  shown = name if adapt else variants.UNADAPTED
  run_dir = _run_dir(workdir, name, seed)
  path = run_dir / f'scores_{shown}.parquet'
  if path.exists():
    return scores_lib.read(path)
  store = run_dir / f'{pipeline.REPLAY_STORE_DIR}_{shown}'
  with (
      clock.stage(f'serve {shown}'),
      progress.bar(f'evaluate {shown} as served') as update,
  ):
    served = pipeline.restore(data, run_dir, store=store, adapt=adapt)
    scores = pipeline.evaluate_as_served(data, served, store, update)
  scores_lib.write(path, scores)
  return scores


def _run_dir(workdir: pathlib.Path, name: str, seed: int) -> pathlib.Path:
  return workdir / name / f'seed_{seed}'


def _closed_form_scores(
    data: pipeline.Dataset, num_seeds: int
) -> dict[str, list[scores_lib.Scores]]:
  """Scores the baselines that count; every seed gives the same."""
  table, info = data.table, data.info
  items = table.event_features[info.item_feature]
  num_items = next(
      s.num_rows for s in info.features if s.name == info.item_feature
  )
  rows = replay.test_rows(table, info)
  prior = baselines.item_prior(
      items,
      table.labels,
      baselines.leading_mask(table.offsets, table.num_train),
      num_items,
      strength=_ITEM_STRENGTH,
  )
  offsets = baselines.entity_offsets(
      table.offsets,
      items,
      table.labels,
      prior,
      rows.entity,
      rows.support_size,
      strength=_USER_STRENGTH,
  )
  of_rows = items[rows.event]
  user_bias = baselines.user_bias_scores(prior, of_rows, offsets)
  return {
      name: [_as_scores(table, rows, score)] * num_seeds
      for name, score in (
          (baselines.ITEM_PRIOR, prior[of_rows]),
          (baselines.USER_BIAS, user_bias),
      )
  }


def _as_scores(
    table: dataset.TaskTable, rows: replay.TestRows, score: np.ndarray
) -> scores_lib.Scores:
  num_rows = rows.event.size
  return scores_lib.Scores(
      entity=rows.entity,
      day=rows.day,
      label=table.labels[rows.event],
      score=score,
      support_size=rows.support_size,
      age_seconds=np.full(num_rows, -1),
      status=np.full(num_rows, int(lookup.Status.PRESENT)),
  )


def _summarize(
    info: dataset.DatasetInfo,
    seeds: list[int],
    scores: dict[str, list[scores_lib.Scores]],
) -> summary_lib.Summary:
  rng = np.random.default_rng(_BOOTSTRAP_SEED)
  average = summary_lib.mean_over_seeds
  return {
      'dataset': info.name,
      'num_interactions': info.num_interactions,
      'num_entities': info.num_entities,
      'protocol': info.protocol,
      'seeds': seeds,
      'variants': {
          name: average([summary_lib.summarize(s, rng) for s in parts])
          for name, parts in scores.items()
      },
      'differences': {
          f'{first} - {second}': average([
              summary_lib.difference(a, b, rng)
              for a, b in zip(scores[first], scores[second], strict=True)
          ])
          for first, second in _DIFFERENCES
      },
      'seconds': {},
      'command': shlex.join(['python', '-m', 'experiments.compare']
                            + sys.argv[1:]),
  }


class _Clock:
  """Seconds by stage, added up over seeds and kept over reruns."""

  def __init__(self, workdir: pathlib.Path):
    self._path = workdir / _SECONDS_FILE
    known = self._path.exists()
    self.seconds = json.loads(self._path.read_text()) if known else {}

  def stage(self, name: str) -> '_Stage':
    """Times a `with` block."""
    return _Stage(self, name)

  def add(self, name: str, seconds: float) -> None:
    """Adds to a stage, and saves."""
    total = self.seconds.get(name, 0.0) + seconds
    self.seconds[name] = round(total, 2)
    _write(self._path, json.dumps(self.seconds, indent=2))


class _Stage:

  def __init__(self, clock: _Clock, name: str):
    self._clock = clock
    self._name = name

  def __enter__(self):
    self._start = time.perf_counter()

  def __exit__(self, *_):
    self._clock.add(self._name, time.perf_counter() - self._start)


def _write(path: pathlib.Path, text: str) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_suffix('.tmp')
  temporary.write_text(text)
  temporary.replace(path)


if __name__ == '__main__':
  binary.run(main)
