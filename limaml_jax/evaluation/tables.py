"""Tables of a summary: one layout for terminal, README and report."""

from typing import NamedTuple

from rich import box
from rich import table as rich_table
from rich import text as rich_text

from limaml_jax.evaluation import baselines
from limaml_jax.evaluation import cohorts as cohorts_lib
from limaml_jax.evaluation import summary as summary_lib

_UNDEFINED = '-'
# Key in a variant's summary, header, +1 if higher is better.
_METRICS = (
    ('roc_auc', 'ROC-AUC', 1),
    ('gauc', 'GAUC', 1),
    ('gauc_by_refresh', 'GAUC\nby refresh', 1),
    ('normalized_entropy', 'Norm. entropy', -1),
    ('log_loss', 'Log loss', -1),
)


class Cell(NamedTuple):
  """One cell: its text, and whether no network does better in its column."""

  text: str
  best: bool = False


class Layout(NamedTuple):
  """A table: header texts, of a line or two, and a cell for each per row."""

  headers: list[str]
  rows: list[list[Cell]]


def layout(summary: summary_lib.Summary) -> Layout:
  """Lays out variants × metrics and cohorts.

  Raises:
    ValueError: if the variants were scored on different numbers of rows.
  """
  variants = summary['variants']
  headers, columns = ['Variant'], [[Cell(name) for name in variants]]
  for key, header, sign in _METRICS:
    values = {name: variants[name][key] for name in variants}
    headers.append(header)
    columns.append(_cells(values, sign))
  for cohort in cohorts_lib.COHORTS:
    parts = {name: variants[name]['cohorts'][cohort] for name in variants}
    num_rows = {part['num_rows'] for part in parts.values()}
    if len(num_rows) > 1:
      raise ValueError(f'cohort {cohort} differs in rows: {sorted(num_rows)}')
    headers.append(f'{cohort} events\n{max(num_rows, default=0):,} rows')
    values = {name: part['roc_auc'] for name, part in parts.items()}
    columns.append(_cells(values, 1))
  rows = [list(row) for row in zip(*columns, strict=True)]
  return Layout(headers, rows)


def table(summary: summary_lib.Summary) -> rich_table.Table:
  """Returns the table for a terminal, the best network in bold."""
  headers, rows = layout(summary)
  result = rich_table.Table(
      title=rich_text.Text(f'{summary["dataset"]}: {summary["protocol"]}'),
      caption=rich_text.Text('\n'.join(difference_lines(summary))),
      caption_justify='left',
      box=box.SIMPLE_HEAD,
  )
  result.add_column(headers[0], no_wrap=True)
  for header in headers[1:]:
    result.add_column(header, justify='right')
  for row in rows:
    result.add_row(*(
        rich_text.Text(cell.text, style='bold' if cell.best else '')
        for cell in row
    ))
  return result


def markdown_table(summary: summary_lib.Summary) -> str:
  """Returns the table in Markdown, the best network in bold."""
  headers, rows = layout(summary)
  lines = [
      _markdown_row([header.replace('\n', '<br>') for header in headers]),
      _markdown_row(['---', *['---:'] * (len(headers) - 1)]),
  ]
  for name, *cells in rows:
    values = [f'**{c.text}**' if c.best else c.text for c in cells]
    lines.append(_markdown_row([f'`{name.text}`', *values]))
  return '\n'.join(lines) + '\n'


def difference_lines(summary: summary_lib.Summary) -> list[str]:
  """Returns one line per paired difference, with its 95 % interval."""
  lines = []
  for name, part in summary['differences'].items():
    if part['roc_auc'] is None:
      lines.append(f'{name}: ROC-AUC undefined')
      continue
    line = f'{name}: ROC-AUC {part["roc_auc"]:+.4f}'
    if part['interval'] is not None:
      low, high = part['interval']
      line += f', 95 % interval [{low:+.4f}, {high:+.4f}]'
    lines.append(line)
  return lines


def _cells(values: dict[str, float | None], sign: int) -> list[Cell]:
  texts = {
      name: _UNDEFINED if value is None else f'{value:.4f}'
      for name, value in values.items()
  }
  # By the printed text, so that equals look equal.
  networks = [
      sign * float(texts[name])
      for name, value in values.items()
      if value is not None and name not in baselines.NAMES
  ]
  best = max(networks, default=None)
  return [
      Cell(
          text,
          best=name not in baselines.NAMES
          and text != _UNDEFINED
          and sign * float(text) == best,
      )
      for name, text in texts.items()
  ]


def _markdown_row(cells: list[str]) -> str:
  return '| ' + ' | '.join(cell.replace('|', r'\|') for cell in cells) + ' |'
