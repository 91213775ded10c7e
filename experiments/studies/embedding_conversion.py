"""A stored embedding against a task's whole adapted weights."""

from experiments.study import figures
from experiments.study import page as page_lib
from experiments.study import results as results_lib
from experiments.study import run as run_lib
from experiments.study import standard
from experiments.study import tables
from limaml_jax import config as config_lib
from limaml_jax import errors

TITLE = 'Meta embedding against adapted weights'
QUESTION = (
    'Where meta features vary from row to row, what does it cost to store one'
    ' pooled embedding instead of the adapted meta block, and how should it be'
    ' pooled?'
)

# By schema, features of the event that the meta block reads, too.
_ROLES = {
    'kuairand': {'tab': 'both', 'hour': 'both'},
    **dict.fromkeys(
        ('ml100k', 'ml100k_graded', 'ml1m'),
        {'genres': 'both', 'release_year': 'both'},
    ),
}
_POOLINGS = ('latest', 'mean', 'max')
_ENTITY_ONLY = 'entity features only'
_PER_ROW = ', weights'


def runs(config: config_lib.Config) -> list[run_lib.Run]:
  """Returns each pooling, scored by its embedding and by its weights."""
  if config.data.schema not in _ROLES:
    raise errors.InputError(
        f'data.schema {config.data.schema}: the study does not know which of'
        f' its features vary by row; it knows {", ".join(_ROLES)}'
    )
  roles = _ROLES[config.data.schema]
  result = [run_lib.Run(_ENTITY_ONLY)]
  for pooling in _POOLINGS:
    pooled = run_lib.Run(
        pooling, settings={'model.meta_block.pooling': pooling}, roles=roles
    )
    per_row = pooled._replace(label=pooling + _PER_ROW, scorer='per_row')
    result += [pooled, per_row]
  return [*result, standard.CONTROL]


def page(results: results_lib.Results) -> page_lib.Page:
  """Returns quality and bytes of both."""
  known = [
      name for name in _POOLINGS if results.has(name, name + _PER_ROW)
  ]
  if not known:
    results.require(*_POOLINGS, *(name + _PER_ROW for name in _POOLINGS))
  lost = {
      name: results.whole.difference(name, name + _PER_ROW) for name in known
  }
  rows = []
  for name in known:
    rows.append([
        name,
        tables.value(results.whole.figure(name)),
        tables.value(results.whole.figure(name + _PER_ROW)),
        tables.with_interval(lost[name], signed=True),
        f'{_bytes(results, name, "embedding"):,.0f}',
        f'{_bytes(results, name, "weights"):,.0f}',
    ])
  table = page_lib.Table(
      'One embedding against adapted weights',
      ['Pooling', 'embedding', 'weights', 'difference\n95 % interval',
       'bytes, embedding', 'bytes, weights'],
      rows,
      'ROC-AUC; bytes of one entity in float32. Both score with the same'
      ' checkpoint, which was trained on pooled embeddings; weights score each'
      ' row with its own meta features, and go by no store.',
  )  # fmt: skip
  svg = figures.intervals(
      'lost', lost, xlabel='ROC-AUC, embedding minus weights', zero=True
  )
  drawing = page_lib.Drawing(
      'lost', 'Lost by storing one embedding', svg, 'By pooling.'
  )
  return page_lib.Page(
      _answer(results, lost),
      [table, tables.quality(results, 'All runs', reference=known[0])],
      [drawing],
  )


def _bytes(results, name, kind) -> float:
  return results.fact(name + _PER_ROW, f'{kind}_bytes') or 0.0


def _answer(results, lost) -> str:
  best = max(lost, key=lambda n: results.whole.figure(n).value or 0.0)
  ratio = _bytes(results, best, 'weights') / max(
      _bytes(results, best, 'embedding'), 1.0
  )
  name = f'The best pooling is {best}; its embedding minus the adapted weights'
  return (
      f'{tables.in_words(name, lost[best])}, at 1/{ratio:,.0f} of the bytes.'
  )
