"""Writing: a study's JSON, table, figures and page, and reading them back.

WORKDIR/NAME-DATA/study.json    every run, and all that the page holds
WORKDIR/NAME-DATA/table.md      its tables
WORKDIR/NAME-DATA/*.svg         its figures
WORKDIR/NAME-DATA/page.html     the page
"""

from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import json
import pathlib
from typing import Any

from experiments import pipeline
from experiments.study import page as page_lib
from experiments.study import run as run_lib
from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax.evaluation import document
from limaml_jax.evaluation import summary as summary_lib

STUDY_FILE = 'study.json'
TABLE_FILE = 'table.md'
PAGE_FILE = 'page.html'
_VERSION = 1  # Of study.json.


def window(protocol: config_lib.ProtocolConfig) -> str:
  """Says which events settings were chosen on, for people."""
  if protocol.split == 'by_time':
    chosen = f'events from {protocol.validation_start} to {protocol.train_end}'
  else:
    chosen = (
        f'the last {protocol.test_fraction:.0%} of each entity\'s training'
        ' events'
    )
  text = f'Validation window, on which settings were chosen: {chosen}.'
  if protocol.phase == 'validation':
    return text + ' The table is of that window; no test event is read.'
  return text


def write(
    directory: pathlib.Path,
    facts: Mapping[str, Any],
    outcomes: Mapping[str, Sequence[run_lib.Outcome]],
    page: page_lib.Page | None,
) -> dict[str, Any]:
  """Writes everything of one study.

  Args:
    directory: of the study.
    facts: what its page says beside the numbers.
    outcomes: of every run.
    page: None where it is refused.

  Returns:
    What study.json holds.
  """
  page = page or page_lib.Page('', (), ())
  study: dict[str, Any] = {
      'version': _VERSION,
      'id': directory.name,
      **facts,
      'answer': page.answer,
      'tables': [table._asdict() for table in page.tables],
      'figures': [
          {k: v for k, v in figure._asdict().items() if k != 'svg'}
          for figure in page.figures
      ],
      'failed': {
          label: part.reason
          for label, parts in outcomes.items()
          for part in parts
          if part.reason
      },
      'runs': [
          _describe(part) for parts in outcomes.values() for part in parts
      ],
  }
  directory.mkdir(parents=True, exist_ok=True)
  for figure in page.figures:
    pipeline.write_text(directory / f'{figure.name}.svg', figure.svg)
  pipeline.write_text(directory / TABLE_FILE, page_lib.markdown(study))
  pipeline.write_text(directory / STUDY_FILE, json.dumps(study, indent=2))
  text = document.render(study['title'], render(directory, study))
  pipeline.write_text(directory / PAGE_FILE, text)
  return study


def read(directory: pathlib.Path) -> dict[str, Any]:
  """Reads study.json.

  Raises:
    InputError: if it is torn, or was written by another version.
  """
  path = directory / STUDY_FILE
  study = None
  with contextlib.suppress(ValueError):
    study = json.loads(path.read_text())
  if not isinstance(study, dict) or study.get('version') != _VERSION:
    raise errors.InputError(
        f'{path}: torn, or of another version; run the study again, its runs'
        ' are kept'
    )
  return study


def read_all(workdir: pathlib.Path) -> dict[pathlib.Path, dict[str, Any]]:
  """Reads every study of a workdir, by its directory.

  Raises:
    InputError: if there is none, or as `read`.
  """
  found = sorted(workdir.glob(f'*/{STUDY_FILE}'))
  if not found:
    raise errors.InputError(
        f'--workdir={workdir}: holds no study; run `python -m'
        ' experiments.study` first'
    )
  return {path.parent: read(path.parent) for path in found}


def render(directory: pathlib.Path, study: Mapping[str, Any]) -> str:
  """Returns the HTML of a study from what is in its directory.

  Raises:
    InputError: if a figure is gone.
  """
  drawings = {}
  for figure in study['figures']:
    path = directory / f'{figure["name"]}.svg'
    if not path.exists():
      raise errors.InputError(f'{path}: not found; run the study again')
    drawings[figure['name']] = path.read_text()
  return page_lib.section(study, drawings)


def _settings_of(run: run_lib.Run | None) -> dict[str, Any] | None:
  return None if run is None else dict(run.settings)


def _describe(outcome: run_lib.Outcome) -> dict[str, Any]:
  """Returns one run with its numbers."""
  run, rows = outcome.run, outcome.scores
  described = {
      'label': run.label,
      'variant': run.variant,
      'settings': dict(run.settings),
      'roles': dict(run.roles),
      'scorer': run.scorer,
      'options': dict(run.options),
      'embeddings_of': _settings_of(run.embeddings_of),
      'seed': outcome.seed,
      'scores': outcome.key,
      'reason': outcome.reason,
      'facts': dict(outcome.facts),
  }
  if rows is None:
    return described
  quality = summary_lib.quality(rows)
  return described | {'num_rows': int(rows.label.size), **quality}
