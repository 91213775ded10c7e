"""Report: what a replay found, as tables for people and as JSON."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

from rich import box
from rich import console as rich_console
from rich import table as rich_table

from experiments import times
from experiments.replay import verdict as verdict_lib
from limaml_jax.evaluation import comparison as comparison_lib

_HEADERS = {
    'roc_auc': 'ROC-AUC',
    'gauc': 'GAUC',
    'normalized_entropy': 'Norm. entropy',
    'calibration': 'Calibration',
    'log_loss': 'Log loss',
}
_BRIEF = ('roc_auc', 'gauc', 'normalized_entropy')
_WIDTH = 120  # Where the output is no terminal.


class Report(NamedTuple):
  """Everything found.

  Attributes:
    bundles: facts of each, by 'A' and 'B'.
    log: facts of the log.
    overall: all impressions.
    cohorts: by group and name.
    verdict: None where there is one bundle.
  """

  bundles: dict[str, dict[str, Any]]
  log: dict[str, Any]
  overall: comparison_lib.Comparison
  cohorts: dict[str, dict[str, comparison_lib.Comparison]]
  verdict: verdict_lib.Verdict | None


def to_json(report: Report) -> dict[str, Any]:
  """Returns a JSON object."""
  names = list(report.bundles)
  found = {
      'bundles': report.bundles,
      'log': report.log,
      'overall': _comparison(report.overall, names),
      'cohorts': {
          group: {name: _comparison(one, names) for name, one in parts.items()}
          for group, parts in report.cohorts.items()
      },
  }
  if report.verdict:
    found['verdict'] = report.verdict._asdict()
  return found


def _comparison(found, names):
  parts = dict(zip(names, found.variants, strict=True))
  if found.difference:
    parts['B - A'] = found.difference
  return {
      'num_impressions': found.num_rows,
      'num_entities': found.num_entities,
  } | {
      name: {
          metric: {
              'value': figures[metric].value,
              'interval': list(figures[metric].interval or ()) or None,
          }
          for metric in _HEADERS
      }
      for name, figures in parts.items()
  }


def show(report: Report) -> None:
  """Prints tables, and the verdict in words."""
  console = rich_console.Console()
  if not console.is_terminal:
    console = rich_console.Console(width=_WIDTH)
  for name, facts in report.bundles.items():
    print(
        f'{name}: {facts["bundle"]} version {facts["version"]}, model'
        f' {facts["fingerprint"]}, snapshot {facts["snapshot"]} of events'
        f' before {times.show(facts["cutoff"])}'
    )
  log = report.log
  rejected = sum(log['rejected'].values())
  print(
      f'{log["num_impressions"]:,} impressions of {log["num_entities"]:,}'
      f' entities, {times.show(log["first"])} to {times.show(log["last"])},'
      f' label rate {log["label_rate"]:.4f}; {rejected:,} of'
      f' {log["num_rows"]:,} rows of the log rejected'
  )
  console.print(_overall(report))
  console.print(_cohorts(report))
  if report.verdict:
    for reason in report.verdict.reasons:
      print(reason)
    word = 'may' if report.verdict.accepted else 'may NOT'
    print(f'B {word} replace A')


def _overall(report: Report) -> rich_table.Table:
  table = rich_table.Table(box=box.SIMPLE_HEAD)
  table.add_column('All impressions')
  found = report.overall
  parts: list[Mapping[str, comparison_lib.Figure]] = list(found.variants)
  headers = list(report.bundles)
  if found.difference:
    parts.append(found.difference)
    headers.append('B - A')
  for header in headers:
    table.add_column(header, justify='right')
    table.add_column('95 % interval', justify='right')
  for metric, header in _HEADERS.items():
    cells = []
    for name, figures in zip(headers, parts, strict=True):
      cells += _cells(figures[metric], signed=name == 'B - A')
    table.add_row(header, *cells)
  return table


def _cohorts(report: Report) -> rich_table.Table:
  table = rich_table.Table(box=box.SIMPLE_HEAD)
  table.add_column('Cohort')
  table.add_column('rows', justify='right')
  for metric in _BRIEF:
    names = list(report.bundles)
    table.add_column(f'{_HEADERS[metric]}\n{names[0]}', justify='right')
    if len(names) == 2:
      table.add_column('\nB - A', justify='right', no_wrap=True)
  for group, parts in report.cohorts.items():
    for name, found in parts.items():
      table.add_row(f'{group} {name}', f'{found.num_rows:,}', *_brief(found))
    table.add_section()
  return table


def _brief(found: comparison_lib.Comparison) -> Sequence[str]:
  cells = []
  for metric in _BRIEF:
    cells.append(_cells(found.variants[0][metric], signed=False)[0])
    if found.difference:
      value, interval = _cells(found.difference[metric], signed=True)
      cells.append(f'{value}\n{interval}'.strip())
  return cells


def _cells(figure: comparison_lib.Figure, *, signed: bool) -> list[str]:
  sign = '+' if signed else ''
  value = '-' if figure.value is None else f'{figure.value:{sign}.4f}'
  if figure.interval is None:
    return [value, '']
  low, high = figure.interval
  return [value, f'[{low:{sign}.4f}, {high:{sign}.4f}]']
