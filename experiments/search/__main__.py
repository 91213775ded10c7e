r"""Searches the settings of one variant on the validation window.

    python -m experiments.search --config=experiments/configs/kuairand.py \
        --data_dir=DIR --workdir=runs/search --variant=limaml

Settings are drawn from the variant's space (space.py); the first are those of
the configuration. Each is trained once, the better half with a second seed,
half of those with two more, and so on (halving.py), and judged by ROC-AUC as
served on the validation window, which ends before the first test event.
WORKDIR/VARIANT.json has all of them, and the budget that was spent; finished
trainings are kept. What a configuration file gives a variant is the best here.
"""

from collections.abc import Sequence
import itertools
import json
import math
import pathlib
import sys
import time

from absl import flags
from rich import console as rich_console
from rich import table as rich_table

from experiments import binary
from experiments import closed_form
from experiments import config_flag
from experiments import pipeline
from experiments import progress
from experiments import variants
from experiments.search import halving
from experiments.search import space
from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax import overrides
from limaml_jax.evaluation import baselines
from limaml_jax.evaluation import scores as scores_lib
from limaml_jax.evaluation import summary as summary_lib
from limaml_jax.training import loop

flags.adopt_module_key_flags(binary)
flags.adopt_module_key_flags(config_flag)

_CLOSED_FORM = 'closed_form'
_VARIANT = flags.DEFINE_enum(
    'variant',
    variants.LIMAML,
    [*variants.TRAINED, _CLOSED_FORM],
    'What to tune; closed_form tries the strengths of item prior and user '
    'bias, twelve pairs.',
)
_DATA_DIR = flags.DEFINE_string(
    'data_dir', None, 'Directory of raw files.', required=True
)
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Receives the trials of all variants.', required=True
)
_TRIALS = flags.DEFINE_integer(
    'trials', 8, 'Settings to try; 8 are 16 trainings.', lower_bound=1
)


def main() -> None:
  """Tries the settings, and prints them best first."""
  workdir = pathlib.Path(_WORKDIR.value)
  validation = {'protocol.phase': 'validation'}
  is_closed_form = _VARIANT.value == _CLOSED_FORM
  variant = variants.LIMAML if is_closed_form else _VARIANT.value
  base = overrides.override(config_flag.resolve(variant), validation)
  with progress.bar('prepare') as update:
    pipeline.prepare(
        base,
        pathlib.Path(_DATA_DIR.value),
        workdir / 'tasks',
        lambda stage, done, total: update(done, total),
    )
  data = pipeline.load(workdir / 'tasks')
  if is_closed_form:
    trials = sorted(_try_strengths(data), key=lambda trial: -trial['roc_auc'])
    path = workdir / f'{_CLOSED_FORM}.json'
    pipeline.write_text(path, json.dumps({'trials': trials}, indent=2))
    _print(trials)
    return
  candidates = space.draw(base, _VARIANT.value, _TRIALS.value)
  path = workdir / f'{_VARIANT.value}.json'
  clock = _Clock(path)

  def judge(number: int, seed: int) -> float:
    config = overrides.override(
        base, candidates[number] | {'training.seed': seed}
    )
    name = f'trial_{number:02d}' + (f'_seed_{seed}' if seed else '')
    run_dir = workdir / _VARIANT.value / name
    return _judge(data, config, run_dir, f'trial {number}, seed {seed}')

  def write(trials: Sequence[halving.Trial]) -> None:
    done = sum(len(trial.values) for trial in trials)
    record = {
        'trials': _rows(candidates, trials),
        'trainings': done,
        'planned_trainings': halving.num_judgements(len(candidates)),
        'seconds': clock.seconds(),
    }
    pipeline.write_text(path, json.dumps(record, indent=2))

  trials = halving.search(len(candidates), judge, write)
  _print(_rows(candidates, trials))


class _Clock:
  """Seconds that a search took, those of earlier calls included."""

  def __init__(self, path: pathlib.Path):
    """Starts, at what the record at `path` says if there is one."""
    earlier = json.loads(path.read_text()) if path.exists() else {}
    # Searches of before left a list of trials.
    seconds = earlier['seconds'] if isinstance(earlier, dict) and earlier else 0
    self._start = time.perf_counter() - seconds

  def seconds(self) -> float:
    """Returns the seconds so far."""
    return time.perf_counter() - self._start


def _rows(
    candidates: Sequence[dict], trials: Sequence[halving.Trial]
) -> list[dict]:
  """Returns settings and quality of the trials that were judged, best first."""
  return [
      candidates[trial.number]
      | {
          'num_seeds': len(trial.values),
          # None where the loss was not finite.
          'roc_auc': trial.mean if math.isfinite(trial.mean) else None,
      }
      for trial in halving.rank(trials)
      if trial.values
  ]


def _try_strengths(data: pipeline.Dataset) -> list[dict]:
  """Judges the user bias under each pair of strengths."""
  trials = []
  for item_strength, entity_strength in itertools.product(
      (5.0, 20.0, 80.0), (0.5, 1.0, 2.0, 4.0)
  ):
    scores = closed_form.score(
        data, item_strength=item_strength, entity_strength=entity_strength
    )[baselines.USER_BIAS]
    settings = {
        'item_strength': item_strength, 'entity_strength': entity_strength
    }
    trials.append(settings | _quality(scores))
  return trials


def _judge(
    data: pipeline.Dataset,
    config: config_lib.Config,
    run_dir: pathlib.Path,
    shown: str,
) -> float:
  """Trains and serves under one seed, unless it is done; returns ROC-AUC.

  Settings whose loss is not finite are worse than all others.
  """
  path = run_dir / 'scores.parquet'
  with progress.bar(shown) as update:
    try:
      loop.train(config, data.table, data.info, run_dir, on_progress=update)
    except errors.NotFiniteError as error:
      print(f'{shown}: {error}', file=sys.stderr)
      return -math.inf
    if not path.exists():
      pipeline.score_run(data, run_dir, path)
  return _quality(scores_lib.read(path))['roc_auc']


def _quality(scores: scores_lib.Scores) -> dict[str, float]:
  """Returns ROC-AUC and log loss; one label alone has no ROC-AUC."""
  quality = summary_lib.quality(scores)
  roc_auc, log_loss = quality['roc_auc'], quality['log_loss']
  if roc_auc is None or log_loss is None:
    raise errors.InputError(
        'the validation window has one label alone, which judges nothing; '
        'move protocol.validation_start'
    )
  return {'roc_auc': roc_auc, 'log_loss': log_loss}


def _print(trials: list[dict]) -> None:
  names = list(dict.fromkeys(name for trial in trials for name in trial))
  table = rich_table.Table(title=f'{_VARIANT.value}, validation window')
  for name in names:
    table.add_column(name.replace('.', '\n'), justify='right')
  for trial in trials:
    table.add_row(*(_show(trial.get(name, 'default')) for name in names))
  rich_console.Console().print(table)


def _show(value: object) -> str:
  return f'{value:.4g}' if isinstance(value, float) else str(value)


if __name__ == '__main__':
  binary.run(main)
