"""Sensitivity to the inner steps and to both learning rates."""

import itertools

from experiments import variants
from experiments.study import figures
from experiments.study import page as page_lib
from experiments.study import results as results_lib
from experiments.study import run as run_lib
from experiments.study import standard
from experiments.study import tables
from limaml_jax import config as config_lib

TITLE = 'Sensitivity to K and the learning rates'
QUESTION = (
    'How much do quality and training time depend on the number of inner steps'
    ' and on the inner and outer learning rates?'
)

_STEPS = (1, 2, 4)
_FACTORS = (0.5, 1.0, 2.0)  # Of the configured rates.
_VALIDATION = {'protocol.phase': 'validation'}
_CONTROL = standard.CONTROL._replace(settings=_VALIDATION)


def runs(config: config_lib.Config) -> list[run_lib.Run]:
  """Returns the grid; on the validation window, for settings are compared."""
  return [
      run_lib.Run(
          _label(config, *point),
          settings={
              **_VALIDATION,
              'inner_loop.num_steps': point[0],
              'inner_loop.learning_rate': (
                  config.inner_loop.learning_rate * point[1]
              ),
              'outer_loop.learning_rate': (
                  config.outer_loop.learning_rate * point[2]
              ),
          },
      )
      for point in _grid()
  ] + [
      run_lib.Run(
          variants.GLOBAL, variant=variants.GLOBAL, settings=_VALIDATION
      ),
      _CONTROL,
  ]


def page(results: results_lib.Results) -> page_lib.Page:
  """Returns ROC-AUC and seconds over the grid."""
  config = results.config
  labels = [_label(config, *point) for point in _grid()]
  known = [label for label in labels if results.has(label)]
  if not known:
    results.require(*labels)
  best = max(known, key=lambda label: _roc_auc(results, label))
  rows = []
  for label in labels:
    if label not in known:
      rows.append([label, 'failed', *[tables.UNDEFINED] * 3])
      continue
    figure = results.whole.figure(label)
    against = results.whole.difference(label, best)
    seconds = results.fact(label, 'train_seconds')
    rows.append([
        label,
        tables.with_interval(figure),
        tables.with_interval(against, signed=True),
        tables.UNDEFINED if seconds is None else f'{seconds:.1f}',
        tables.by_seed(figure),
    ])
  headers = [
      'K, inner, outer rate', 'ROC-AUC\n95 % interval',
      'minus best\n95 % interval', 'training, s', 'ROC-AUC by seed',
  ]
  table = page_lib.Table(
      'Quality and training time', headers, rows,
      f'Best: {best}. Seconds are those of the outer steps, on this machine,'
      ' compilations left out.',
  )
  return page_lib.Page(
      _answer(results, known, best),
      [table],
      [_against_time(results), *_figures(results)],
  )


def _grid():
  return itertools.product(_STEPS, _FACTORS, _FACTORS)


def _label(config, num_steps, inner, outer) -> str:
  return (
      f'K={num_steps}, {config.inner_loop.learning_rate * inner:g},'
      f' {config.outer_loop.learning_rate * outer:g}'
  )


def _roc_auc(results, label) -> float:
  return results.whole.figure(label).value or 0.0


def _against_time(results) -> page_lib.Drawing:
  """Draws each setting at the seconds that it takes to train."""
  series = {}
  for num_steps, inner, outer in _grid():
    label = _label(results.config, num_steps, inner, outer)
    seconds = (
        results.fact(label, 'train_seconds') if results.has(label) else None
    )
    if seconds is not None:
      point = seconds, results.whole.figure(label)
      series.setdefault(f'K = {num_steps}', []).append(point)
  svg = figures.lines(
      'time', series, xlabel='training (s)', ylabel='ROC-AUC', joined=False
  )
  return page_lib.Drawing(
      'time', 'ROC-AUC against seconds of training', svg,
      'A point for each pair of rates; rows of the validation window.',
  )


def _figures(results) -> list[page_lib.Drawing]:
  config = results.config
  drawn = []
  for outer in _FACTORS:
    rate = config.outer_loop.learning_rate * outer
    series = {}
    for num_steps in _STEPS:
      points = []
      for place, inner in enumerate(_FACTORS):
        label = _label(config, num_steps, inner, outer)
        if results.has(label):
          points.append((float(place), results.whole.figure(label)))
      series[f'K = {num_steps}'] = points
    name = f'rates_{_FACTORS.index(outer)}'
    svg = figures.lines(
        name, series, xlabel='inner learning rate', ylabel='ROC-AUC',
        ticks=[f'{config.inner_loop.learning_rate * f:g}' for f in _FACTORS],
    )
    title = f'ROC-AUC by inner rate, outer rate {rate:g}'
    drawn.append(
        page_lib.Drawing(name, title, svg, 'Rows of the validation window.')
    )
  return drawn


def _answer(results, known, best) -> str:
  qualities = [_roc_auc(results, label) for label in known]
  sentences = [
      f'Over {len(known)} settings ROC-AUC on the validation window ranges'
      f' from {min(qualities):.4f} to {max(qualities):.4f}; the best is {best}.'
  ]
  configured = _label(results.config, results.config.inner_loop.num_steps, 1, 1)
  if results.has(configured) and configured != best:
    difference = results.whole.difference(configured, best)
    sentences.append(
        tables.in_words(f'The configured {configured} against it', difference)
        + '.'
    )
  return ' '.join([*sentences, *_seconds(results)])


def _seconds(results) -> list[str]:
  """Compares the time of most and least inner steps, as configured else."""
  least, most = (
      results.fact(_label(results.config, k, 1, 1), 'train_seconds')
      if results.has(_label(results.config, k, 1, 1)) else None
      for k in (_STEPS[0], _STEPS[-1])
  )
  if not least or most is None:
    return []
  return [f'K = {_STEPS[-1]} trains {most / least:.1f} times as long as K = 1.']
