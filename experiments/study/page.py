"""Page: what a study says, and how it is written as HTML and Markdown."""

from collections.abc import Mapping
from collections.abc import Sequence
import html
import string
from typing import Any
from typing import NamedTuple


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


_DOCUMENT = string.Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; --text: #1c2126; --page: #fdfdfc;
  --muted: #59636e; --line: #d5d9de; --loud: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e7ea; --page: #16191d;
  --muted: #9aa4af; --line: #3a4149; --loud: #f2857d; } }
body { color: var(--text); background: var(--page); margin: 2rem auto;
  padding: 0 1rem; max-width: 72rem; font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin-bottom: 0.3rem; }
h2 { font-size: 1.3rem; margin: 3rem 0 0.4rem; }
h3 { font-size: 1.05rem; margin: 1.8rem 0 0.4rem; }
p, figcaption, li { max-width: 46rem; }
figcaption, .note { color: var(--muted); font-size: 0.9rem; }
.answer { font-weight: 600; }
.refused { color: var(--loud); }
code { font-size: 0.9em; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.92rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: 0.35rem 0.65rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th { vertical-align: bottom; font-weight: 600; }
th:first-child { text-align: left; }
tbody th { font-weight: 400; vertical-align: middle;
  font-family: ui-monospace, monospace; }
figure { margin: 0; }
svg { max-width: 100%; height: auto; }
</style>
</head>
<body>
$body
</body>
</html>
""")


def document(title: str, body: str) -> str:
  """Returns a page of HTML that needs nothing beside it."""
  return _DOCUMENT.substitute(title=html.escape(title), body=body)


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
  title = html.escape(figure['title'])
  # Studies share one page, and the ids of their drawings must not.
  prefix = html.escape(study)
  for opening in (' id="', 'url(#', 'href="#'):
    svg = svg.replace(opening, f'{opening}{prefix}-')
  svg = svg.replace('<svg ', f'<svg role="img" aria-label="{title}" ', 1)
  caption = html.escape(figure['caption'])
  return (
      f'<h3>{title}</h3>\n<figure>{svg}'
      f'<figcaption>{caption}</figcaption></figure>'
  )
