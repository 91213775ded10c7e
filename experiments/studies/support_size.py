"""Gain of adaptation by how many events of the entity are known."""

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

TITLE = 'Gain by number of events'
QUESTION = (
    'From how many events of an entity on does adapting to them help, against'
    ' an embedding per ID, the network without identity, and LiMAML unadapted?'
)

_AGAINST = (variants.WIDE_DEEP_ID, variants.GLOBAL, variants.UNADAPTED)
# Fewest and most events before the cutoff.
_COHORTS = {
    **{str(n): (n, n) for n in range(6)},
    '6-10': (6, 10),
    '11-20': (11, 20),
    '21+': (21, None),
}

_GAIN = 'ROC-AUC gain of LiMAML by events before the cutoff'


def runs(config: config_lib.Config) -> list[run_lib.Run]:
  """Returns LiMAML and what it is measured against."""
  del config
  return [
      *standard.of_variants(variants.LIMAML, *_AGAINST, *baselines.NAMES),
      standard.CONTROL,
  ]


def page(results: results_lib.Results) -> page_lib.Page:
  """Returns the gains by cohort."""
  results.require(variants.LIMAML)
  against = [name for name in _AGAINST if results.has(name)]
  masks = _masks(results.rows(variants.LIMAML).support_size)
  by_cohort = {
      name: results.measure([variants.LIMAML, *against], mask)
      for name, mask in masks.items()
      if mask.any()
  }
  gains = {
      name: {
          other: measured.difference(variants.LIMAML, other)
          for other in against
      }
      for name, measured in by_cohort.items()
  }
  quality = tables.quality(
      results, 'All rows', reference=variants.LIMAML
  )
  return page_lib.Page(
      _answer(gains, against),
      [_table(by_cohort, gains, against), quality],
      [_drawing(gains, against)],
  )


def _table(by_cohort, gains, against) -> page_lib.Table:
  """Returns a row for each cohort."""
  rows = []
  for name, measured in by_cohort.items():
    row = [
        name, f'{measured.num_rows:,}', f'{measured.num_entities:,}',
        tables.value(measured.figure(variants.LIMAML)),
    ]
    row += [
        tables.with_interval(gains[name][other], signed=True)
        for other in against
    ]
    rows.append(row)
  headers = ['Events', 'rows', 'entities', 'limaml']
  headers += [f'minus {other}\n95 % interval' for other in against]
  return page_lib.Table(
      _GAIN, headers, rows,
      'Cohorts are frozen at the cutoff that a row was scored under.',
  )


def _drawing(gains, against) -> page_lib.Drawing:
  """Draws a line for each run that LiMAML is compared with."""
  series = {
      f'limaml - {other}': [
          (float(place), of_cohort[other])
          for place, of_cohort in enumerate(gains.values())
      ]
      for other in against
  }
  svg = figures.lines(
      'gains', series, xlabel='events of the entity before the cutoff',
      ylabel='ROC-AUC gain', ticks=list(gains), zero=True,
  )
  return page_lib.Drawing('gains', _GAIN, svg, 'Paired on the same rows.')


def _masks(support_size: np.ndarray) -> dict[str, np.ndarray]:
  """Returns the rows of each cohort; every row is in one."""
  return {
      name: (support_size >= least)
      & (support_size <= (np.inf if most is None else most))
      for name, (least, most) in _COHORTS.items()
  }


def _answer(gains, against) -> str:
  """Says from which cohort on each gain is above 0 for good."""
  sentences = []
  for other in against:
    sure = [
        figures_by[other].interval is not None
        and figures_by[other].interval.low > 0
        for figures_by in gains.values()
    ]
    # The first cohort from which on all intervals are above 0.
    start = len(sure) - next(
        (n for n, one in enumerate(reversed(sure)) if not one), len(sure)
    )
    names = list(gains)
    if start == len(sure):
      sentences.append(
          f'Against {other} no gain is sure up to the largest cohort.'
      )
      continue
    first, last = names[start], names[-1]
    sentences.append(
        f'Against {other} the gain is above 0 in every cohort from {first}'
        f' {"event" if first == "1" else "events"} on'
        f' ({tables.value(gains[first][other], signed=True)}), and'
        f' {tables.value(gains[last][other], signed=True)} at {last}.'
    )
  return ' '.join(sentences)
