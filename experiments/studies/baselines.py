"""LiMAML against what else could be done with the same log."""

from experiments import variants
from experiments.baselines import registry
from experiments.study import figures
from experiments.study import page as page_lib
from experiments.study import results as results_lib
from experiments.study import run as run_lib
from experiments.study import standard
from experiments.study import tables
from limaml_jax import config as config_lib
from limaml_jax.evaluation import baselines

TITLE = 'Baselines'
QUESTION = (
    'Does LiMAML do better than networks, trees and linear models with the same'
    ' data, and does it add to rates counted by hand?'
)

# Each on the same rows under the same cutoffs.
OTHERS = (
    registry.TREES, registry.TREES_AT_REFRESH, registry.TREES_ITEM_RATES,
    registry.GLMIX, registry.LAST_LAYER, registry.DAILY_IDS,
)  # fmt: skip
# Schemas with past rates as features: of items alone, and of the user, too.
_RATES = {
    'kuairand': {'item rates': 'kuairand_rates',
                 'user rates': 'kuairand_user_rates'},
}  # fmt: skip
_WITH_RATES = (variants.GLOBAL, variants.LIMAML, registry.TREES)
# What the history says by itself, with one forward pass.
_HISTORY_ALONE = run_lib.Run(
    'history alone', settings={'inner_loop.num_steps': 0}
)
# What is LiMAML, too, but for a part of it.
_OWN = (variants.FIRST_ORDER, variants.UNADAPTED, _HISTORY_ALONE.label)
# By data; docs/results.md tells more.
_OTHERS_BUDGET = (
    'twelve trials for item_prior and user_bias together, eight of trees, ten'
    ' of glmix and of daily_ids, five of last_layer, all on the validation days'
    ' of kuairand; unadapted is limaml\'s checkpoint.'
)
_BUDGETS = {
    'kuairand': (
        'Tuning: ten trials for each of global, wide_deep_id, first_order and'
        ' limaml, which had about twenty before; ' + _OTHERS_BUDGET +
        ' Runs with rates take the settings of those without.'
    ),
    'kuairand_rates': (
        'Tuning: what kuairand had, and then nine trainings for wide_deep_id,'
        ' ten for limaml; ' + _OTHERS_BUDGET
    ),
    'kuairand_everything': (
        'Tuning: what kuairand_rates had, and then nine trainings for each of'
        ' global and wide_deep_id, eighteen for limaml; ' + _OTHERS_BUDGET
    ),
    'ml100k': (
        'Tuning: ten trials for each of global, wide_deep_id, first_order and'
        ' limaml, twelve for item_prior and user_bias together; the others have'
        ' the settings of kuairand.'
    ),
}
_MOVIELENS_BUDGET = (
    'Tuning: limaml on the validation window, in the tens of settings that'
    ' docs/movielens.md lists; no other run.'
)
_BUDGETS |= dict.fromkeys(
    ('ml100k_graded', 'ml1m_ids', 'ml1m_rates'), _MOVIELENS_BUDGET
)
_NO_BUDGET = 'Settings are not tuned on these data, those of no run.'
_TREES = (
    'trees count their rates to the event itself, trees_at_refresh to the last'
    ' refresh, those of items, too, which LiMAML knows as of the end of'
    ' training; trees_item_rates have none of the entity.'
)


def runs(config: config_lib.Config) -> list[run_lib.Run]:
  """Returns every baseline, and some of them with rates."""
  result = standard.of_variants(
      *baselines.NAMES, *OTHERS, *variants.TRAINED, variants.UNADAPTED
  )
  if config.model.meta_block.reads_history:
    result.append(_HISTORY_ALONE)
  for name, schema in _RATES.get(config.data.schema, {}).items():
    result += [
        run._replace(
            label=f'{run.label} + {name}', settings={'data.schema': schema}
        )
        for run in standard.of_variants(*_WITH_RATES)
    ]
  return [*result, standard.CONTROL]


def page(results: results_lib.Results) -> page_lib.Page:
  """Returns all of them against LiMAML."""
  results.require(variants.LIMAML)
  rivals = [
      label for label in results.labels
      if label not in (variants.LIMAML, run_lib.RANDOM)
  ]
  gains = {
      label: results.whole.difference(variants.LIMAML, label)
      for label in rivals
  }
  svg = figures.intervals(
      'gains', gains, xlabel='ROC-AUC, limaml minus each', zero=True
  )
  drawing = page_lib.Drawing(
      'gains', 'Gain of LiMAML', svg, 'Paired on the same rows.'
  )
  budget = _BUDGETS.get(results.config.data.schema, _NO_BUDGET)
  table = tables.quality(
      results, 'Quality on the test rows', reference=variants.LIMAML,
      note=f'{_TREES} {budget}',
  )
  return page_lib.Page(_answer(results, gains), [table], [drawing])


def _answer(results, gains) -> str:
  """Says what LiMAML gains on the best other, and on parts of itself."""
  # With other features it is another question.
  plain = [
      label for label in gains
      if 'data.schema' not in results.run(label).settings
      and label not in _OWN
  ]
  best = max(plain, key=lambda n: results.whole.figure(n).value or 0.0)
  sentences = [
      tables.in_words(f'limaml minus the best other, {best}', gains[best])
  ] + [
      tables.in_words(f'minus {label}', gains[label])
      for label in _OWN
      if label in gains
  ]
  for name in _RATES.get(results.config.data.schema, {}):
    first, second = (
        f'{label} + {name}' for label in (variants.LIMAML, variants.GLOBAL)
    )
    if results.has(first, second):
      difference = results.whole.difference(first, second)
      sentences.append(
          tables.in_words(f'with {name}, limaml minus global', difference)
      )
  return '; '.join(sentences) + '.'
