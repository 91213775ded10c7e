"""What old embeddings, an old network, and rarer refreshes cost."""

from experiments import variants
from experiments.study import figures
from experiments.study import page as page_lib
from experiments.study import results as results_lib
from experiments.study import run as run_lib
from experiments.study import standard
from experiments.study import statistics
from experiments.study import tables
from limaml_jax import config as config_lib

TITLE = 'Age and refresh of embeddings'
QUESTION = (
    'How much quality is lost as embeddings and the network that reads them'
    ' grow old, and how often should embeddings be refreshed?'
)

_AGES = (1, 2, 3, 5, 7)  # Days.
_INTERVALS = {'hour': 1, 'day': 24, 'week': 168}
_FRESH = 'fresh'
_ONCE = (
    'An interval as long as the test window, or longer, is one refresh at its'
    ' start, which nothing repeats.'
)
_USER, _GLOBAL, _BOTH = 'user part', 'global part', 'both parts'


def runs(config: config_lib.Config) -> list[run_lib.Run]:
  """Returns a run for each age of each part, and for each interval."""
  standard.require_by_time(config)
  result = [run_lib.Run(_FRESH)]
  for days in _AGES:
    delay = {'delay_hours': days * standard.DAY_HOURS}
    trained = standard.trained_earlier(config, days)
    result += [
        run_lib.Run(_label(_USER, days), options=delay),
        trained._replace(label=_label(_GLOBAL, days)),
        trained._replace(
            label=_label(_BOTH, days), options={**trained.options, **delay}
        ),
    ]
  distinct = standard.distinct_intervals(config, list(_INTERVALS.values()))
  result += [
      run_lib.Run(f'every {name}', options={'hours': hours})
      for name, hours in _INTERVALS.items()
      if hours in distinct
      and hours != config.protocol.refresh_hours  # That one is `fresh`.
  ]
  unadapted = run_lib.Run(variants.UNADAPTED, variant=variants.UNADAPTED)
  return [*result, unadapted, standard.CONTROL]


def page(results: results_lib.Results) -> page_lib.Page:
  """Returns quality by age and part, and by interval."""
  results.require(_FRESH)
  lost = {
      part: _lost(results, part) for part in (_USER, _GLOBAL, _BOTH)
  }
  headers = ['Age, days', *(f'{part} old\n95 % interval' for part in lost)]
  rows = []
  for days in (0, *_AGES):
    row = [str(days)]
    for points in lost.values():
      figure = dict(points).get(days)
      row.append(
          tables.UNDEFINED
          if figure is None
          else tables.with_interval(figure, signed=True)
      )
    rows.append(row)
  title = 'ROC-AUC by age, minus fresh'
  by_age = page_lib.Table(
      title, headers, rows,
      'User part d days old: embeddings made from the events until d days'
      ' before the start of the row\'s day, the network trained to the first'
      ' test day. Global part d days old: the network trained to d days before'
      ' the first test day, embeddings made with it daily: trained longer ago,'
      ' and on fewer days. Both: both.',
  )
  svg = figures.lines(
      'age', lost, xlabel='age (days)', ylabel='ROC-AUC against fresh',
      zero=True,
  )
  return page_lib.Page(
      _answer(results, lost),
      [
          by_age,
          tables.quality(results, 'All runs', reference=_FRESH, note=_ONCE),
      ],
      [
          page_lib.Drawing('age', title, svg, 'Paired on the same rows.'),
          _interval_drawing(results),
      ],
  )


def _label(part: str, days: int) -> str:
  return f'{part} {days} d old'


def _lost(results, part) -> list[tuple[float, statistics.Figure]]:
  """Returns ROC-AUC minus that of `fresh`, by age in days."""
  points = [(0.0, results.whole.difference(_FRESH, _FRESH))]
  for days in _AGES:
    label = _label(part, days)
    if results.has(label):
      points.append((float(days), results.whole.difference(label, _FRESH)))
  return points


def _intervals(results) -> dict[str, str]:
  """Returns the label of each interval that was run, by its name."""
  hours = results.config.protocol.refresh_hours
  labels = {
      name: _FRESH if length == hours else f'every {name}'
      for name, length in _INTERVALS.items()
  }
  return {name: label for name, label in labels.items() if results.has(label)}


def _interval_drawing(results) -> page_lib.Drawing:
  values = {
      f'every {name}': results.whole.difference(label, variants.UNADAPTED)
      for name, label in _intervals(results).items()
      if results.has(variants.UNADAPTED)
  }
  svg = figures.intervals(
      'interval', values, xlabel='ROC-AUC gain over unadapted', zero=True
  )
  return page_lib.Drawing(
      'interval', 'Gain by refresh interval', svg,
      f'The network is the same; only embeddings are made anew. {_ONCE}',
  )


def _answer(results, lost) -> str:
  sentences = []
  for part, points in lost.items():
    days, figure = points[-1]
    if days:
      name = f'{part.capitalize()} {days:g} days old instead of fresh'
      sentences.append(tables.in_words(name, figure) + '.')
  labels = _intervals(results)
  for one, other in (('week', 'day'), ('hour', 'day')):
    if one in labels and other in labels:
      difference = results.whole.difference(labels[one], labels[other])
      name = f'Refresh every {one} instead of every {other}'
      sentences.append(tables.in_words(name, difference) + '.')
  return ' '.join(sentences)
