"""Tables that most studies have, and the texts in their cells."""

from collections.abc import Sequence

from experiments.study import page
from experiments.study import results as results_lib
from experiments.study import statistics

UNDEFINED = '-'


def value(figure: statistics.Figure, *, signed: bool = False) -> str:
  """Returns the mean over seeds, as text."""
  if figure.value is None:
    return UNDEFINED
  return f'{figure.value:{"+" if signed else ""}.4f}'


def interval(figure: statistics.Figure, *, signed: bool = False) -> str:
  """Returns the 95 % interval, as text."""
  if figure.interval is None:
    return UNDEFINED
  sign = '+' if signed else ''
  low, high = figure.interval
  return f'[{low:{sign}.4f}, {high:{sign}.4f}]'


def with_interval(figure: statistics.Figure, *, signed: bool = False) -> str:
  """Returns the mean over seeds and, in a second line, the interval."""
  text = value(figure, signed=signed)
  if figure.interval is None:
    return text
  return f'{text}\n{interval(figure, signed=signed)}'


def by_seed(figure: statistics.Figure, *, signed: bool = False) -> str:
  """Returns the value under each seed, as text."""
  sign = '+' if signed else ''
  return '\n'.join(
      UNDEFINED if one is None else f'{one:{sign}.4f}' for one in figure.seeds
  )


def in_words(name: str, figure: statistics.Figure) -> str:
  """Returns a difference of ROC-AUC in words, with its interval."""
  text = f'{name}: ROC-AUC {value(figure, signed=True)}'
  if figure.interval is None:
    return text
  return f'{text}, 95 % interval {interval(figure, signed=True)}'


def quality(
    results: results_lib.Results,
    title: str,
    *,
    reference: str,
    labels: Sequence[str] | None = None,
    measured: statistics.Measured | None = None,
    note: str = '',
) -> page.Table:
  """Returns a table of runs by quality.

  Args:
    results: of the study.
    title: of the table.
    reference: label that others are compared with.
    labels: of the rows; all when left out.
    measured: those labels, on the rows that count; all when left out.
    note: below the table.
  """
  labels = [*results.labels, *results.failed] if labels is None else labels
  headers = ['Run', 'ROC-AUC\n95 % interval']
  compared = results.has(reference)
  whole = measured or results.whole
  if compared:
    headers.append(f'minus {reference}\n95 % interval')
  headers += [
      'GAUC\n95 % interval', 'GAUC by refresh\n95 % interval',
      'Norm. entropy', 'Log loss', 'ROC-AUC by seed',
  ]  # fmt: skip
  rows = []
  for label in labels:
    if label in results.failed:
      rows.append([label, 'failed', *[UNDEFINED] * (len(headers) - 2)])
      continue
    rows.append(_quality(whole, label, reference if compared else None))
  count = f'{whole.num_rows:,} rows of {whole.num_entities:,} entities.'
  note = f'{count} {note}'.strip()
  return page.Table(title, headers, rows, note)


def _quality(
    measured: statistics.Measured, label: str, reference: str | None
) -> list[str]:
  """Returns the cells of a run."""
  roc_auc = measured.figure(label)
  row = [label, with_interval(roc_auc)]
  if reference == label:
    row.append(UNDEFINED)
  elif reference:
    difference = measured.difference(label, reference)
    row.append(with_interval(difference, signed=True))
  return [
      *row,
      with_interval(measured.figure(label, 'gauc')),
      with_interval(measured.figure(label, 'gauc_by_refresh')),
      value(measured.figure(label, 'normalized_entropy')),
      value(measured.figure(label, 'log_loss')),
      by_seed(roc_auc),
  ]
