"""A network that is not retrained, with embeddings that are refreshed."""

from experiments import variants
from experiments.study import figures
from experiments.study import page as page_lib
from experiments.study import results as results_lib
from experiments.study import run as run_lib
from experiments.study import standard
from experiments.study import tables
from limaml_jax import config as config_lib

TITLE = 'Transfer to later days'
QUESTION = (
    'How well does a network that was meta-trained on one period serve a later'
    ' one, its embeddings refreshed and nothing retrained?'
)

_GAPS = (0, 2, 4, 6)  # Days between the end of training and the first test day.
_VARIANTS = (variants.LIMAML, variants.WIDE_DEEP_ID, variants.GLOBAL)


def runs(config: config_lib.Config) -> list[run_lib.Run]:
  """Returns each variant trained to each day, scored on the same days."""
  standard.require_by_time(config)
  result = [
      standard.trained_earlier(config, gap, variant)._replace(
          label=_label(variant, gap)
      )
      for variant in _VARIANTS
      for gap in _GAPS
  ]
  return [*result, standard.CONTROL]


def page(results: results_lib.Results) -> page_lib.Page:
  """Returns quality by the gap."""
  results.require(_label(variants.LIMAML, 0))
  rows, series = [], {variant: [] for variant in _VARIANTS}
  for gap in _GAPS:
    row = [str(gap)]
    for variant in _VARIANTS:
      label = _label(variant, gap)
      if not results.has(label, _label(variant, 0)):
        row += [tables.UNDEFINED] * 2
        continue
      figure = results.whole.figure(label)
      retrained = results.whole.difference(label, _label(variant, 0))
      series[variant].append((float(gap), figure))
      row += [
          tables.with_interval(figure),
          tables.with_interval(retrained, signed=True)
          if gap
          else tables.UNDEFINED,
      ]
    rows.append(row)
  headers = ['Gap, days']
  for variant in _VARIANTS:
    headers += [f'{variant}\n95 % interval', 'minus retrained\n95 % interval']
  title = 'ROC-AUC by the days between training and test'
  table = page_lib.Table(
      title, headers, rows,
      'Embeddings are refreshed from the events before each cutoff, whatever'
      ' the network was trained on; a shorter training period is also a smaller'
      ' one. Not tested: another log, whose items share no vocabulary.',
  )
  svg = figures.lines(
      'gap', series, xlabel='days between training and test',
      ylabel='ROC-AUC',
  )
  quality = tables.quality(
      results, 'All runs', reference=_label(variants.LIMAML, 0)
  )
  return page_lib.Page(
      _answer(results),
      [table, quality],
      [page_lib.Drawing('gap', title, svg, 'The test days are the same.')],
  )


def _label(variant: str, gap: int) -> str:
  return f'{variant}, gap {gap} d'


def _answer(results) -> str:
  known = [n for n in _GAPS if results.has(_label(variants.LIMAML, n))]
  gap = known[-1]
  if not gap:
    return 'No run of LiMAML with a gap has ended well.'
  late, retrained, rival = (
      _label(variants.LIMAML, gap),
      _label(variants.LIMAML, 0),
      _label(variants.WIDE_DEEP_ID, gap),
  )
  sentences = []
  for other, what in (
      (retrained, 'LiMAML retrained'), (rival, 'an ID embedding of that day')
  ):
    if results.has(late, other):
      difference = results.whole.difference(late, other)
      name = f'LiMAML trained to {gap} days before the test, minus {what}'
      sentences.append(tables.in_words(name, difference) + '.')
  return ' '.join(sentences)
