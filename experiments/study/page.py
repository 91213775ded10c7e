"""Page: what a study says, and how it is written as HTML and Markdown."""

from collections.abc import Mapping
from collections.abc import Sequence
import html
from typing import Any
from typing import NamedTuple

from limaml_jax.evaluation import document


class Table(NamedTuple):
  """A table of texts.

  Attributes:
    title: of the table.
    headers: of the columns.
    rows: a text per column; the first one names the row.
    note: what a reader needs to know below it.
    protocol: that its rows were tested under; the study's when left out.
  """

  title: str
  headers: Sequence[str]
  rows: Sequence[Sequence[str]]
  note: str = ''
  protocol: str = ''


class Drawing(NamedTuple):
  """A figure.

  Attributes:
    name: of its file, unique within a study.
    title: above it.
    svg: the figure.
    caption: below it.
  """

  name: str
  title: str
  svg: str
  caption: str


class Page(NamedTuple):
  """What a study says.

  Attributes:
    answer: to its question, a sentence or two made of the numbers.
    tables: at least one.
    figures: drawn from the same numbers.
  """

  answer: str
  tables: Sequence[Table]
  figures: Sequence[Drawing]


def section(study: Mapping[str, Any], drawings: Mapping[str, str]) -> str:
  """Returns the HTML of one study.

  Args:
    study: what its study.json holds.
    drawings: SVG by the name of the figure.
  """
  parts = [
      f'<h2 id="{html.escape(study["id"])}">{html.escape(study["title"])}</h2>',
      f'<p>{html.escape(study["question"])}</p>',
  ]
  if study['refused']:
    reasons = ''.join(f'<li>{html.escape(r)}</li>' for r in study['refused'])
    parts.append(
        '<p class="refused">No table: the runs are degenerate.</p>'
        f'<ul class="refused">{reasons}</ul>'
    )
  else:
    parts.append(f'<p class="answer">{html.escape(study["answer"])}</p>')
  command = f'<code>{html.escape(study["command"])}</code>'
  for table in study['tables']:
    parts += [
        f'<h3>{html.escape(table["title"])}</h3>',
        f'<div class="scroll">{_table(table)}</div>',
        f'<p class="note">{html.escape(note(table, study))}</p>',
        f'<p class="note">{command}</p>',
    ]
  for figure in study['figures']:
    parts.append(_figure(figure, drawings[figure['name']], study['id']))
  failed = ''.join(
      f'<li>{html.escape(label)}: {html.escape(reason)}</li>'
      for label, reason in study['failed'].items()
  )
  if failed:
    parts.append(f'<p>Runs that failed:</p><ul>{failed}</ul>')
  return '\n'.join(parts)


def note(table: Mapping[str, Any], study: Mapping[str, Any]) -> str:
  """Returns the note of a table; says its protocol, window and seeds, too."""
  seeds = ', '.join(map(str, study['seeds']))
  text = (
      f'{table["note"]} {study["dataset"]}, '
      f'{table["protocol"] or study["protocol"]}. {study["window"]} Seeds'
      f' {seeds}; means over them. Intervals: 95 %, paired bootstrap over'
      ' entities.'
  )
  return text.strip()


def markdown(study: Mapping[str, Any]) -> str:
  """Returns the tables of a study in Markdown, with the command under each."""
  lines = [f'# {study["title"]}', '', study['question'], '']
  if study['refused']:
    lines += ['No table: the runs are degenerate.', '']
    lines += [f'- {reason}' for reason in study['refused']]
  else:
    lines += [f'**{study["answer"]}**', '']
  for table in study['tables']:
    alignment = ['---', *['---:'] * (len(table['headers']) - 1)]
    lines += [f'**{table["title"]}**', '']
    lines += [_row(table['headers']), _row(alignment)]
    lines += [_row([f'`{row[0]}`', *row[1:]]) for row in table['rows']]
    lines += ['', note(table, study), '']
    lines += ['```bash', study['command'], '```', '']
  lines += [
      f'- failed: {label}: {reason}'
      for label, reason in study['failed'].items()
  ]
  return '\n'.join(lines).rstrip() + '\n'


def _row(cells: Sequence[str]) -> str:
  texts = [c.replace('|', r'\|').replace('\n', '<br>') for c in cells]
  return '| ' + ' | '.join(texts) + ' |'


def _table(table: Mapping[str, Any]) -> str:
  escape = lambda text: html.escape(text).replace('\n', '<br>')
  head = ''.join(
      f'<th scope="col">{escape(header)}</th>' for header in table['headers']
  )
  body = ''.join(
      f'<tr><th scope="row">{escape(name)}</th>'
      + ''.join(f'<td>{escape(cell)}</td>' for cell in cells)
      + '</tr>'
      for name, *cells in table['rows']
  )
  return (
      f'<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
  )


def _figure(figure: Mapping[str, Any], svg: str, study: str) -> str:
  # Studies share one page, and the ids of their drawings must not.
  prefix = html.escape(study)
  for opening in (' id="', 'url(#', 'href="#'):
    svg = svg.replace(opening, f'{opening}{prefix}-')
  return document.figure(
      figure['title'], svg, figure['caption'], heading='h3'
  )
