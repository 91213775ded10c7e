"""Report of an evaluation: one HTML file that needs nothing beside it."""

import html
import os
import pathlib
import string

import numpy as np

from limaml_jax.evaluation import document
from limaml_jax.evaluation import figures
from limaml_jax.evaluation import summary as summary_lib
from limaml_jax.evaluation import tables

# Differences shown by cohort: what adaptation gives, and what it gives over
# learning an embedding per entity.
_GAINS = ('limaml - unadapted', 'limaml - wide_deep_id')

_BODY = string.Template("""\
<h1>$title</h1>
<p>$introduction</p>
<h2>Results</h2>
<div class="scroll">$table</div>
<p class="note">In bold the best network of a column. Columns of events hold
ROC-AUC on the rows of entities with so many events before the cutoff. Lower is
better for normalized entropy and log loss.</p>
$differences
$figures
""")


def write_report(
    path: str | os.PathLike[str],
    summary: summary_lib.Summary,
    curves: figures.Curves,
    scores_by_variant: figures.ScoresByVariant,
) -> None:
  """Writes the report, whole or not at all.

  Args:
    path: HTML file to write.
    summary: numbers of the evaluation.
    curves: per trained variant, its metric records with 'step' and 'meta_loss'.
    scores_by_variant: scored rows of one seed; may leave variants out.
  """
  path = pathlib.Path(path)
  page = render_report(summary, curves, scores_by_variant)
  temporary = path.with_name(f'.{path.name}.{os.getpid()}')
  try:
    temporary.write_text(page, encoding='utf-8')
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


def render_report(
    summary: summary_lib.Summary,
    curves: figures.Curves,
    scores_by_variant: figures.ScoresByVariant,
) -> str:
  """Returns the page that `write_report` writes."""
  differences = ''.join(
      f'<li>{html.escape(line)}</li>'
      for line in tables.difference_lines(summary)
  )
  title = f'LiMAML on {summary["dataset"]}'
  body = _BODY.substitute(
      title=html.escape(title),
      introduction=_introduction(summary),
      table=_table(summary),
      differences=f'<ul>{differences}</ul>' if differences else '',
      figures='\n'.join(_figures(summary, curves, scores_by_variant)),
  )
  return document.render(title, body)


def _introduction(summary: summary_lib.Summary) -> str:
  seeds = ', '.join(map(str, summary['seeds']))
  noun = 'seed' if len(summary['seeds']) == 1 else 'seeds'
  text = html.escape(
      f'{summary["num_interactions"]:,} interactions of '
      f'{summary["num_entities"]:,} entities. {summary["protocol"]}. '
      f'Mean over {noun} {seeds}; intervals resample entities.'
  )
  if 'command' in summary:
    text += f' Made by <code>{html.escape(summary["command"])}</code>.'
  return text


def _table(summary: summary_lib.Summary) -> str:
  headers, rows = tables.layout(summary)
  head = ''.join(
      f'<th scope="col">{html.escape(header).replace(chr(10), "<br>")}</th>'
      for header in headers
  )
  body = []
  for name, *cells in rows:
    columns = ''.join(
        f'<td class="best">{html.escape(cell.text)}</td>'
        if cell.best
        else f'<td>{html.escape(cell.text)}</td>'
        for cell in cells
    )
    head_cell = f'<th scope="row">{html.escape(name.text)}</th>'
    body.append(f'<tr>{head_cell}{columns}</tr>')
  return (
      f'<table><thead><tr>{head}</tr></thead>'
      f'<tbody>{"".join(body)}</tbody></table>'
  )


def _figures(
    summary: summary_lib.Summary,
    curves: figures.Curves,
    scores_by_variant: figures.ScoresByVariant,
) -> list[str]:
  looks = figures.looks_of([*summary['variants'], *curves, *scores_by_variant])
  scores_by_variant = {
      name: rows for name, rows in scores_by_variant.items() if rows.day.size
  }
  sections = [document.figure(
      'ROC-AUC by variant', figures.roc_auc_intervals(summary),
      'Whiskers: 95 % bootstrap interval over entities, averaged over seeds.',
  )]
  gains = {
      name: summary['differences'][name]
      for name in _GAINS
      if name in summary['differences']
  }
  if gains:
    sections.append(document.figure(
        'Gain of adaptation by cohort', figures.gains_by_cohort(gains),
        'Paired difference on the same rows. A cohort without both labels is '
        'left out.',
    ))
  if any(np.unique(r.day).size > 1 for r in scores_by_variant.values()):
    sections.append(document.figure(
        'ROC-AUC day by day', figures.roc_auc_by_day(scores_by_variant, looks),
        'Rows grouped by the cutoff whose embeddings scored them; one seed.',
    ))
  if curves:
    sections.append(document.figure(
        'Training', figures.training_curves(curves, looks),
        'Mean of neighbouring records where there are many.',
    ))
  if scores_by_variant:
    sections.append(document.figure(
        'Calibration', figures.calibration_curves(scores_by_variant, looks),
        'On the diagonal a score means what it says; one seed.',
    ))
  if summary['seconds']:
    sections.append(document.figure(
        'Time per stage', figures.stage_seconds(summary['seconds']),
        'Wall time of the run that made this report.',
    ))
  return sections
