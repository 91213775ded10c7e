"""Entities that training never saw, by their events since."""

import numpy as np

from experiments import variants
from experiments.study import figures
from experiments.study import page as page_lib
from experiments.study import results as results_lib
from experiments.study import run as run_lib
from experiments.study import standard
from experiments.study import tables
from limaml_jax import config as config_lib
from limaml_jax.evaluation import baselines

TITLE = 'Cold start'
QUESTION = (
    'What do entities that training has not seen gain, without any retraining,'
    ' as their first events come in?'
)

_VARIANTS = (
    variants.LIMAML, variants.UNADAPTED, variants.WIDE_DEEP_ID,
    variants.GLOBAL, baselines.USER_BIAS,
)  # fmt: skip
_COHORTS = {'0': (0, 0), '1-2': (1, 2), '3-5': (3, 5), '6+': (6, np.inf)}
# A tenth of the entities trains nothing, and is tested after 0, 3 or 12 events.
_HELD_OUT = {
    'protocol.split': 'within_entity',
    'protocol.refresh_hours': 0,
    'protocol.new_entity_fraction': 0.1,
}
_HELD_OUT_NAME = 'held out: '


def runs(config: config_lib.Config) -> list[run_lib.Run]:
  """Returns all variants; by time, once more with entities held out."""
  result = standard.of_variants(*_VARIANTS)
  if config.protocol.split == 'by_time':
    result += [
        run._replace(label=_HELD_OUT_NAME + run.label, settings=_HELD_OUT)
        for run in standard.of_variants(*_VARIANTS)
    ]
  return [*result, standard.CONTROL]


def page(results: results_lib.Results) -> page_lib.Page:
  """Returns the quality on rows of unseen entities."""
  results.require(variants.LIMAML)
  written, drawn, sentences = [], [], []
  for prefix, title in (
      ('', 'Entities that training has not seen'),
      (_HELD_OUT_NAME, 'A tenth of the entities held out of training'),
  ):
    if not results.has(prefix + variants.LIMAML):
      continue
    labels = [
        prefix + name for name in _VARIANTS if results.has(prefix + name)
    ]
    table, gains = _by_cohort(results, labels, title)
    if not table.rows:
      sentences.append(f'{title}: there are none in these data.')
      continue
    written.append(table)
    name = 'held_out' if prefix else 'unseen'
    drawn.append(page_lib.Drawing(
        name, f'{title}: gain of LiMAML', _draw(name, gains),
        'Paired on the same rows.',
    ))
    sentences.append(_answer(title, gains))
  written.append(tables.quality(
      results, 'All rows, seen entities among them',
      reference=variants.LIMAML,
      labels=[name for name in _VARIANTS if results.has(name)],
      measured=results.measure(
          [name for name in _VARIANTS if results.has(name)]
      ),
  ))
  return page_lib.Page(' '.join(sentences), written, drawn)


def _by_cohort(results, labels, title):
  """Returns a table of cohorts, and LiMAML's gains in each by its rival."""
  first, *others = labels
  is_new = results.is_new(first)
  sizes = results.rows(first).support_size
  rows, gains = [], {label: [] for label in others}
  for place, (name, (least, most)) in enumerate(_COHORTS.items()):
    mask = is_new & (sizes >= least) & (sizes <= most)
    if not mask.any():
      continue
    measured = results.measure(labels, mask)
    row = [name, f'{measured.num_rows:,}', f'{measured.num_entities:,}']
    row.append(tables.with_interval(measured.figure(first)))
    for label in others:
      gain = measured.difference(first, label)
      gains[label].append((float(place), gain))
      row.append(tables.with_interval(gain, signed=True))
    rows.append(row)
  short = [label.removeprefix(_HELD_OUT_NAME) for label in labels]
  headers = ['Events since', 'rows', 'entities', f'{short[0]}\n95 % interval']
  headers += [f'minus {name}\n95 % interval' for name in short[1:]]
  note = 'ROC-AUC. Rows of entities without any training event.'
  if first.startswith(_HELD_OUT_NAME):
    note += (
        ' Those held out are tested right after 0, 3 or 12 events, in the'
        ' middle of the log: training knows later events of others. Settings'
        ' were chosen under the configured protocol, on events some of which'
        ' are tested here.'
    )
  table = page_lib.Table(
      title, headers, rows, note, results.protocol(first)
  )
  return table, gains


def _draw(name, gains) -> str:
  return figures.lines(
      name,
      {
          f'minus {label.removeprefix(_HELD_OUT_NAME)}': points
          for label, points in gains.items()
      },
      xlabel='events of the entity before the cutoff', ylabel='ROC-AUC gain',
      ticks=list(_COHORTS), zero=True,
  )


def _answer(title, gains) -> str:
  parts = []
  for label, points in gains.items():
    place, figure = points[-1]
    cohort = list(_COHORTS)[int(place)]
    parts.append(
        f'{tables.value(figure, signed=True)}'
        f' {tables.interval(figure, signed=True)} over'
        f' {label.removeprefix(_HELD_OUT_NAME)}'
        f' at {cohort} events'
    )
  return f'{title}: LiMAML gains {"; ".join(parts)} (ROC-AUC, 95 %).'
