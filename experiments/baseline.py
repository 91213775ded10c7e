r"""Scores the test rows by a baseline that is no variant of the network.

    python -m experiments.baseline --name=trees \
        --config=experiments/configs/kuairand.py \
        --data=runs/kuairand/tasks --workdir=runs/kuairand/baselines

Leaves NAME_SEED.parquet and NAME_SEED.json in the workdir, and prints the
latter. The rows are those of `evaluate`, in the same order. With --search it
tries settings instead, on a dataset of the validation phase.
"""

import json
import pathlib

from absl import flags
import numpy as np
from rich import console as rich_console
from rich import table as rich_table

from experiments import binary
from experiments import config_flag
from experiments import pipeline
from experiments import progress
from experiments import variants
from experiments.baselines import registry
from experiments.baselines import request as request_lib
from experiments.baselines import tuning
from limaml_jax import errors
from limaml_jax.evaluation import scores as scores_lib
from limaml_jax.evaluation import summary as summary_lib

flags.adopt_module_key_flags(binary)
flags.adopt_module_key_flags(config_flag)

_NAME = flags.DEFINE_string(
    'name', None, f'One of {", ".join(registry.REGISTRY)}.', required=True
)
_DATA = flags.DEFINE_string(
    'data', None, 'Dataset that `prepare` made.', required=True
)
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Receives scores, and networks that are trained.',
    required=True,
)  # fmt: skip
_SEED = flags.DEFINE_integer('seed', 0, 'Of whatever is random.', lower_bound=0)
_SEARCH = flags.DEFINE_bool(
    'search', False, 'Tries settings on a dataset of the validation phase.'
)
_BOOTSTRAP_SEED = 0


def main() -> None:
  """Scores by --name, or searches its settings."""
  name = _NAME.value
  if name not in registry.REGISTRY:
    raise errors.InputError(
        f'--name={name}: unknown; choose one of {", ".join(registry.REGISTRY)}'
    )
  config = config_flag.resolve(registry.VARIANTS.get(name, variants.LIMAML))
  data = pipeline.load(_DATA.value)
  workdir = pathlib.Path(_WORKDIR.value)
  workdir.mkdir(parents=True, exist_ok=True)
  if _SEARCH.value:
    _search(name, data, config, workdir)
    return
  with progress.bar(name) as update:
    request = request_lib.Request(data, config, _SEED.value, workdir, update)
    scores = registry.REGISTRY[name](request)
  path = workdir / f'{name}_{_SEED.value}.parquet'
  scores_lib.write(path, scores)
  rng = np.random.default_rng(_BOOTSTRAP_SEED)
  text = json.dumps(summary_lib.summarize(scores, rng), indent=2)
  pipeline.write_text(path.with_suffix('.json'), text)
  print(text)


def _search(name, data, config, workdir) -> None:
  """Prints what each setting gives, best first."""
  pipeline.check_validation(data)
  table = rich_table.Table(title=f'{name}, validation window')
  for column in ('ROC-AUC', 'GAUC', 'settings'):
    table.add_column(column)
  request = request_lib.Request(data, config, _SEED.value, workdir)
  trials = []
  with progress.bar(f'search {name}') as update:
    for done, settings in enumerate(tuning.trials(name)):
      scores = tuning.SEARCHED[name](request, settings)
      quality = summary_lib.quality(scores)
      trials.append(
          (quality['roc_auc'] or 0.0, quality['gauc'] or 0.0, settings)
      )
      update(done + 1, len(tuning.trials(name)))
  for roc_auc, gauc, settings in sorted(trials, key=lambda t: -t[0]):
    table.add_row(f'{roc_auc:.4f}', f'{gauc:.4f}', str(settings))
  rich_console.Console().print(table)


if __name__ == '__main__':
  binary.run(main)
