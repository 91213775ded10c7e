"""Kinds of meta block."""

from experiments.study import figures
from experiments.study import page as page_lib
from experiments.study import results as results_lib
from experiments.study import run as run_lib
from experiments.study import standard
from experiments.study import tables
from limaml_jax import config as config_lib
from limaml_jax import overrides

TITLE = 'Meta blocks'
QUESTION = (
    'Which kind of meta block adapts best, and what does each take to train and'
    ' to refresh?'
)

_REFERENCE = 'mlp'
_COST = {'cost': True}
# docs/meta_blocks.md has both, found on the validation days of kuairand.
_FEATURE_RATE, _HISTORY_RATE = 4.0, 0.5
_NOTE = (
    'All share the settings that were chosen for the configured block. Where'
    ' that reads no history, deep_sets and transformer have an inner rate of'
    ' 0.5, the best of three for deep_sets on validation days; where it does,'
    ' the others have 4 (docs/meta_blocks.md).'
)
# Settings by label; what is not said is as configured.
_BLOCKS = {
    'mlp': {'model.meta_block.kind': 'mlp'},
    'mlp, two layers': {
        'model.meta_block.kind': 'mlp',
        'model.meta_block.widths': (128, 64),
    },
    'id_embedding': {'model.meta_block.kind': 'id_embedding'},
    'deep_sets': {'model.meta_block.kind': 'deep_sets'},
    'transformer': {'model.meta_block.kind': 'transformer'},
}


def runs(config: config_lib.Config) -> list[run_lib.Run]:
  """Returns a run for each block."""
  return [
      run_lib.Run(
          label,
          settings={**settings, 'inner_loop.learning_rate': _rate(
              config, overrides.override(config, settings)
          )},
          options=_COST,
      )
      for label, settings in _BLOCKS.items()
  ] + [standard.CONTROL]


def _rate(configured: config_lib.Config, config: config_lib.Config) -> float:
  """Returns the inner rate of a block; kinds of one sort share the configured.

  The other sort would do badly at it, so it gets what kuairand found for it.
  """
  reads_history = config.model.meta_block.reads_history
  if reads_history == configured.model.meta_block.reads_history:
    return configured.inner_loop.learning_rate
  return _HISTORY_RATE if reads_history else _FEATURE_RATE


def page(results: results_lib.Results) -> page_lib.Page:
  """Returns quality and cost of each block."""
  known = [label for label in _BLOCKS if results.has(label)]
  if not known:
    results.require(*_BLOCKS)
  rows = []
  for label in known:
    entities = results.fact(label, 'refresh_entities') or 1.0
    seconds = results.fact(label, 'refresh_seconds') or 0.0
    trained = results.fact(label, 'train_seconds')
    parameters = results.fact(label, 'parameters')
    rows.append([
        label,
        tables.with_interval(results.whole.figure(label)),
        tables.UNDEFINED if parameters is None else f'{parameters:,.0f}',
        tables.UNDEFINED if trained is None else f'{trained:.1f}',
        f'{1e6 * seconds / entities:.1f}',
        f'{(results.fact(label, "refresh_flops") or 0.0) / entities / 1e6:.2f}',
    ])
  table = page_lib.Table(
      'Quality and cost',
      ['Meta block', 'ROC-AUC\n95 % interval', 'parameters', 'training, s',
       'refresh, µs/entity', 'Mflop/entity'],
      rows,
      'Parameters: of the meta block and its history encoder, tables of'
      ' embeddings apart. Training: outer steps, without compiling. Operations'
      ' are those of matrix products, padding included.',
  )  # fmt: skip
  values = {label: results.whole.figure(label) for label in known}
  svg = figures.intervals('blocks', values, xlabel='ROC-AUC')
  drawing = page_lib.Drawing(
      'blocks', 'ROC-AUC by meta block', svg, 'All else as configured.'
  )
  quality = tables.quality(
      results, 'All runs', reference=_REFERENCE,
      note=_NOTE,
  )
  return page_lib.Page(_answer(results, known), [table, quality], [drawing])


def _answer(results, known) -> str:
  best = max(known, key=lambda n: results.whole.figure(n).value or 0.0)
  if best == _REFERENCE or not results.has(_REFERENCE):
    return f'The best is {best}, of {", ".join(known)}.'
  difference = results.whole.difference(best, _REFERENCE)
  text = tables.in_words(f'The best, {best}, minus {_REFERENCE}', difference)
  return f'{text}.'
