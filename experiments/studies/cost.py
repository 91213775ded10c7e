"""What the refresh costs, and what it gives."""

from experiments import variants
from experiments.study import figures
from experiments.study import page as page_lib
from experiments.study import results as results_lib
from experiments.study import run as run_lib
from experiments.study import standard
from experiments.study import tables
from limaml_jax import config as config_lib

TITLE = 'Cost of the refresh'
QUESTION = (
    'What do the entity-seconds and operations of the refresh buy, by its'
    ' interval, the inner steps, and the cap of the support?'
)

_COST = {'cost': True}
_HOURS = (6, 12, 24, 48, 168)
_STEPS = (1, 2, 4)
_CAPS = (8, 16, 32, 64)
_INTERVAL, _K, _CAP = 'interval, h', 'K', 'support cap'


def runs(config: config_lib.Config) -> list[run_lib.Run]:
  """Returns runs along each of three lines, and `unadapted`."""
  result = []
  if config.protocol.split == 'by_time':
    for hours in standard.distinct_intervals(config, _HOURS):
      options = _COST | {'hours': hours}
      if hours == config.protocol.refresh_hours:
        options = _COST
      result.append(run_lib.Run(_label(_INTERVAL, hours), options=options))
  result += [
      run_lib.Run(
          _label(_K, number),
          settings={'inner_loop.num_steps': number},
          options=_COST,
      )
      for number in _STEPS
  ]
  result += [
      run_lib.Run(
          _label(_CAP, cap),
          settings={'episodes.support_buckets': (cap,)},
          options=_COST,
          may_equal=cap > min(_CAPS),  # No support may be as long.
      )
      for cap in _CAPS
  ]
  unadapted = standard.of_variants(variants.UNADAPTED)
  return [*result, *unadapted, standard.CONTROL]


def page(results: results_lib.Results) -> page_lib.Page:
  """Returns gain against cost along each line."""
  results.require(variants.UNADAPTED)
  rows = []
  lines = {
      _INTERVAL: _HOURS, _K: _STEPS, _CAP: _CAPS
  }
  series = {name: [] for name in lines}
  for name, values in lines.items():
    for label in (_label(name, value) for value in values):
      if not results.has(label):
        continue
      gain = results.whole.difference(label, variants.UNADAPTED)
      series[name].append((_flops_per_day(results, label) / 1e9, gain))
      rows.append([label, *_costs(results, label),
                   tables.with_interval(gain, signed=True)])  # fmt: skip
  table = page_lib.Table(
      'Cost of the daily job, and what it gives',
      ['Setting', 'refreshes/day', 'µs/entity', 'entity-seconds/day',
       'Gflop/day', 'gain over unadapted\n95 % interval'],
      rows,
      'Every refresh adapts every entity. Entity-seconds: those that adapting'
      ' all entities takes on this machine. Operations: of matrix products,'
      ' counted in the trace, padding included. A refresh once is counted as'
      ' one a day. Of intervals as long as the tested window only one is there,'
      ' which is a single refresh.',
  )  # fmt: skip
  svg = figures.lines(
      'cost', {k: sorted(v) for k, v in series.items() if v},
      xlabel='operations of a day (Gflop)', ylabel='ROC-AUC gain', log=True,
  )
  drawing = page_lib.Drawing(
      'cost', 'Gain over unadapted by the operations of a day', svg,
      'Each line changes one setting.',
  )
  quality = tables.quality(results, 'All runs', reference=variants.UNADAPTED)
  return page_lib.Page(_answer(results, series), [table, quality], [drawing])


def _label(name: str, value: int) -> str:
  return f'{name} = {value}'


def _refreshes_per_day(results, label) -> float:
  return results.fact(label, 'refreshes_per_day') or 1.0


def _flops_per_day(results, label) -> float:
  flops = results.fact(label, 'refresh_flops') or 0.0
  return flops * _refreshes_per_day(results, label)


def _costs(results, label) -> list[str]:
  seconds = results.fact(label, 'refresh_seconds') or 0.0
  entities = results.fact(label, 'refresh_entities') or 1.0
  per_day = _refreshes_per_day(results, label)
  return [
      f'{per_day:.2f}',
      f'{1e6 * seconds / entities:.1f}',
      f'{seconds * per_day:.2f}',
      f'{_flops_per_day(results, label) / 1e9:.2f}',
  ]


def _answer(results, series) -> str:
  sentences = []
  for name, points in series.items():
    if len(points) < 2:
      continue
    (least, low), (most, high) = min(points), max(points)
    sentences.append(
        f'Along {name}, {most / max(least, 1e-12):.1f} times the operations'
        f' change the gain from {tables.value(low, signed=True)} to'
        f' {tables.value(high, signed=True)}.'
    )
  return ' '.join(sentences)
