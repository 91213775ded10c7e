"""Baselines that count instead of training: item prior and user bias."""

from experiments import pipeline
from limaml_jax.evaluation import baselines
from limaml_jax.evaluation import replay
from limaml_jax.evaluation import scores as scores_lib

# What `search --variant=closed_form` chose on the validation days of kuairand.
ITEM_STRENGTH = 20.0
ENTITY_STRENGTH = 2.0


def score(
    data: pipeline.Dataset,
    *,
    item_strength: float = ITEM_STRENGTH,
    entity_strength: float = ENTITY_STRENGTH,
) -> dict[str, scores_lib.Scores]:
  """Scores the test rows by both baselines.

  Args:
    data: prepared dataset.
    item_strength: events' worth of belief in the mean label of all items.
    entity_strength: precision of the belief that an entity has no bias.
  """
  table, info = data.table, data.info
  items = table.event_features[info.item_feature]
  num_items = next(
      s.num_rows for s in info.features if s.name == info.item_feature
  )
  rows = replay.test_rows(table, info)
  prior = baselines.item_prior(
      items,
      table.labels,
      baselines.leading_mask(table.offsets, table.num_train),
      num_items,
      strength=item_strength,
  )
  offsets = baselines.entity_offsets(
      table.offsets,
      items,
      table.labels,
      prior,
      rows.entity,
      rows.support_size,
      strength=entity_strength,
  )
  of_rows = items[rows.event]
  user_bias = baselines.user_bias_scores(prior, of_rows, offsets)
  return {
      baselines.ITEM_PRIOR: replay.unserved_scores(table, rows, prior[of_rows]),
      baselines.USER_BIAS: replay.unserved_scores(table, rows, user_bias),
  }
