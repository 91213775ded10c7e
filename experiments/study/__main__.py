r"""Runs one study: trains what is missing, and writes its table and page.

    python -m experiments.study --name=support_size --data=kuairand \
        --data_dir=DIR --seeds=5

Leaves study.json, table.md, figures and page.html in WORKDIR/NAME-DATA, with a
hash behind it of the settings that the command line overrides, if any.
Studies under one workdir share datasets, checkpoints and scores; run the same
command again to go on where it stopped. `--config.NAME=VALUE` overrides a
setting of every run. docs/studies.md has the rest.
"""

import pathlib
import shlex
import sys
from typing import Any

from absl import flags

from experiments import binary
from experiments import config_flag
from experiments.study import datasets as datasets_lib
from experiments.study import detector
from experiments.study import inputs as inputs_lib
from experiments.study import page as page_lib
from experiments.study import results as results_lib
from experiments.study import run as run_lib
from experiments.study import running
from experiments.study import settings as settings_lib
from experiments.study import writing
from limaml_jax import errors
from limaml_jax.data import dataset

flags.adopt_module_key_flags(binary)

_NAME = flags.DEFINE_string(
    'name', None, 'A study, a file of experiments/studies.', required=True
)
_DATA = flags.DEFINE_string(
    'data', None, 'A configuration, e.g. kuairand, or its path.', required=True
)
_DATA_DIR = flags.DEFINE_string(
    'data_dir',
    None,
    'Directory of raw files; needed until all datasets of the study are'
    ' prepared in the workdir.',
)
_SEEDS = flags.DEFINE_integer(
    'seeds', 5, 'Each run is repeated with seeds 0, 1, ...', lower_bound=1
)
_WORKDIR = flags.DEFINE_string(
    'workdir', 'runs/studies', 'Of all studies: what one trains, all share.'
)


def main() -> None:
  """Runs the study of --name on --data."""
  study = settings_lib.load_study(_NAME.value)
  workdir = pathlib.Path(_WORKDIR.value)
  settings = settings_lib.load(_DATA.value, config_flag.given())
  data_dir = pathlib.Path(_DATA_DIR.value) if _DATA_DIR.value else None
  datasets = datasets_lib.Datasets(workdir, data_dir)
  inputs = inputs_lib.Inputs(settings, datasets, workdir)
  config = settings.resolve(run_lib.Run(''))
  runs = study.runs(config)
  # The study's own dataset: what the page says of the protocol.
  own, data = inputs.make(runs[0], seed=0)
  outcomes = running.run_all(runs, range(_SEEDS.value), inputs=inputs)
  results = results_lib.Results(
      config, outcomes, lambda run: inputs.make(run, seed=0)[1]
  )
  refused = detector.find(outcomes) + datasets.leaks()
  page = None
  if not refused:
    try:
      page = study.page(results)
    except errors.InputError as error:
      refused.append(str(error))
  facts = _facts(study, data.info) | {
      'title': f'{study.TITLE}: {settings.label}',
      'window': writing.window(own.protocol),
      'seeds': results.seeds,
      'refused': refused,
  }
  directory = workdir / f'{_NAME.value}-{settings.label}'
  written = writing.write(directory, facts, outcomes, page)
  print(page_lib.markdown(written))
  print(f'Page: {directory / writing.PAGE_FILE}')
  if refused:
    raise errors.InputError(
        f'{directory}: no table: {"; ".join(refused)}; mend the runs'
    )


def _facts(study: Any, info: dataset.DatasetInfo) -> dict[str, Any]:
  """Returns what there is to say of a study before any run."""
  return {
      'name': _NAME.value,
      'question': study.QUESTION,
      'dataset': info.name,
      'protocol': info.protocol,
      'command': shlex.join(
          ['python', '-m', 'experiments.study', *sys.argv[1:]]
      ),
  }


if __name__ == '__main__':
  binary.run(main)
