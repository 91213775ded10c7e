r"""Compares all variants as served: trains, refreshes, evaluates, reports.

    python -m experiments.compare --config=experiments/configs/kuairand.py \
        --data=runs/kuairand/tasks --workdir=runs/kuairand --seeds=0,1,2

Leaves summary.json, summary.md and report.html in the workdir, and prints the
table. What
an earlier run finished is reused; an interrupted one is resumed.
"""

import json
import pathlib
import shlex
import sys

from absl import flags
import numpy as np
from rich import console as rich_console

from experiments import binary
from experiments import closed_form
from experiments import config_flag
from experiments import pipeline
from experiments import progress
from experiments import stage_clock
from experiments import variants
from limaml_jax import errors
from limaml_jax.data import dataset
from limaml_jax.evaluation import baselines
from limaml_jax.evaluation import report
from limaml_jax.evaluation import scores as scores_lib
from limaml_jax.evaluation import summary as summary_lib
from limaml_jax.evaluation import tables
from limaml_jax.training import run_config
from limaml_jax.training import writers

flags.adopt_module_key_flags(binary)
flags.adopt_module_key_flags(config_flag)

_DATA = flags.DEFINE_string(
    'data', None, 'Dataset that `prepare` made; WORKDIR/tasks when left out.'
)
_DATA_DIR = flags.DEFINE_string(
    'data_dir',
    None,
    'Directory of raw files: prepares the dataset first, unless it is there.',
)
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Receives everything.', required=True
)
_SEEDS = flags.DEFINE_list('seeds', ['0'], 'Training seeds to average over.')
_SUMMARY_FILE = 'summary.json'
_TABLE_FILE = 'summary.md'
_REPORT_FILE = 'report.html'
_BOOTSTRAP_SEED = 0
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
  seeds = _parse_seeds(_SEEDS.value)
  clock = stage_clock.StageClock(workdir)
  tasks = pathlib.Path(_DATA.value or workdir / 'tasks')
  if _DATA_DIR.value:
    with clock.stage('prepare'), progress.bar('prepare') as update:
      pipeline.prepare(
          config_flag.resolve(variants.LIMAML),
          pathlib.Path(_DATA_DIR.value),
          tasks,
          lambda stage, done, total: update(done, total),
      )
  data = pipeline.load(tasks)
  scores = {
      name: [rows] * len(seeds)
      for name, rows in closed_form.score(data).items()
  }
  for name in variants.TRAINED:
    scores[name] = [_run(data, workdir, name, seed, clock) for seed in seeds]
  scores[variants.UNADAPTED] = [
      _serve(data, workdir, variants.LIMAML, seed, clock, adapt=False)
      for seed in seeds
  ]
  scores = {name: scores[name] for name in _ORDER}
  with clock.stage('summarize'):
    summary = _summarize(data.info, seeds, scores)
  summary['seconds'] = clock.seconds()
  pipeline.write_text(workdir / _SUMMARY_FILE, json.dumps(summary, indent=2))
  pipeline.write_text(workdir / _TABLE_FILE, tables.markdown_table(summary))
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


def _parse_seeds(texts: list[str]) -> list[int]:
  if not texts or not all(text.isdecimal() for text in texts):
    raise errors.InputError(
        f'--seeds={",".join(texts)}: must be whole numbers, e.g. 0,1,2'
    )
  return [int(text) for text in texts]


def _run(data, workdir, name, seed, clock) -> scores_lib.Scores:
  """Trains a variant where it is not yet trained, and evaluates it."""
  config = variants.with_seed(config_flag.resolve(name), seed)
  run_dir = _run_dir(workdir, name, seed)
  run_config.settle(run_dir, config, data.info)
  if not _scores_path(run_dir, name).exists():
    with (
        clock.stage(f'train {name}', f'seed {seed}'),
        progress.bar(f'train {name}, seed {seed}') as update,
    ):
      pipeline.train(config, data, run_dir, on_progress=update)
  return _serve(data, workdir, name, seed, clock, adapt=True)


def _serve(data, workdir, name, seed, clock, *, adapt) -> scores_lib.Scores:
  """Evaluates a trained variant as served, unless its scores are there."""
  shown = name if adapt else variants.UNADAPTED
  run_dir = _run_dir(workdir, name, seed)
  path = _scores_path(run_dir, shown)
  if path.exists():
    return scores_lib.read(path)
  with (
      clock.stage(f'serve {shown}', f'seed {seed}'),
      progress.bar(f'evaluate {shown} as served') as update,
  ):
    return pipeline.score_run(
        data, run_dir, path, adapt=adapt, on_progress=update
    )


def _run_dir(workdir: pathlib.Path, name: str, seed: int) -> pathlib.Path:
  return workdir / name / f'seed_{seed}'


def _scores_path(run_dir: pathlib.Path, shown: str) -> pathlib.Path:
  return run_dir / f'scores_{shown}.parquet'


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


if __name__ == '__main__':
  binary.run(main)
