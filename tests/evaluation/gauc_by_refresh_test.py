"""What GAUC says of embeddings that are refreshed, on users of known rates.

Labels are independent draws with a user's own rate. Scores are that rate as
estimated from the labels before the day: the best that can be known of it.
"""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax.evaluation import metrics
from limaml_jax.evaluation import scores as scores_lib
from limaml_jax.evaluation import summary as summary_lib

_NUM_USERS = 800
_NUM_DAYS = 4
_PER_DAY = 3
_HISTORY = 5


def sigmoid(logits):
  return 1 / (1 + np.exp(-logits))


def simulate(item_scale, *, refreshed=True, knows_level=True):
  """Returns the scored rows of all days; items add to a user's logit."""
  rng = np.random.default_rng(0)
  rates = rng.beta(2, 2, _NUM_USERS)
  positives = rng.binomial(_HISTORY, rates).astype(float)
  num_seen = np.full(_NUM_USERS, float(_HISTORY))
  days = []
  level = np.log((positives + 1) / (num_seen - positives + 1))
  for day in range(_NUM_DAYS):
    if refreshed:
      level = np.log((positives + 1) / (num_seen - positives + 1))
    items = item_scale * rng.normal(size=(_NUM_USERS, _PER_DAY))
    true = np.log(rates / (1 - rates))[:, None] + items
    labels = (rng.random(true.shape) < sigmoid(true)).astype(np.float32)
    known = items + (level[:, None] if knows_level else 0.0)
    days.append(make_rows(day, labels, sigmoid(known)))
    positives += np.sum(labels, axis=1)
    num_seen += _PER_DAY
  return scores_lib.concatenate(days)


def make_rows(day, labels, scores):
  entity = np.repeat(np.arange(_NUM_USERS), _PER_DAY)
  nothing = np.zeros_like(entity)
  return scores_lib.Scores(
      entity=entity,
      day=nothing + day,
      label=labels.ravel(),
      score=scores.ravel(),
      support_size=nothing,
      age_seconds=nothing,
      status=nothing,
  )


def quality(rows):
  columns = (rows.score, rows.label)
  groups = scores_lib.refresh_groups(rows)
  return {
      'roc_auc': metrics.RocAuc.from_scores(*columns).compute(),
      'gauc': metrics.Gauc.from_scores(*columns, rows.entity).compute(),
      'gauc_by_refresh': metrics.Gauc.from_scores(*columns, groups).compute(),
  }


class GaucByRefreshTest(parameterized.TestCase):

  def test_gauc_calls_a_good_estimate_of_the_level_bad(self):
    found = quality(simulate(item_scale=0.0))
    self.assertGreater(found['roc_auc'], 0.65)
    self.assertLess(found['gauc'], 0.45)
    # Of one refresh, all rows of a user have one score.
    self.assertEqual(found['gauc_by_refresh'], 0.5)

  def test_an_estimate_that_stays_ties_in_both(self):
    found = quality(simulate(item_scale=0.0, refreshed=False))
    self.assertGreater(found['roc_auc'], 0.65)
    self.assertEqual(found['gauc'], 0.5)
    self.assertEqual(found['gauc_by_refresh'], 0.5)

  def test_only_gauc_takes_the_level_for_worse_ranking_of_items(self):
    with_level = quality(simulate(item_scale=1.0))
    without = quality(simulate(item_scale=1.0, knows_level=False))
    self.assertGreater(with_level['roc_auc'], without['roc_auc'] + 0.03)
    self.assertLess(with_level['gauc'], without['gauc'] - 0.03)
    self.assertAlmostEqual(
        with_level['gauc_by_refresh'], without['gauc_by_refresh'], places=6
    )

  def test_is_gauc_where_there_is_one_refresh(self):
    rows = simulate(item_scale=1.0)
    first = quality(scores_lib.select(rows, rows.day == 0))
    self.assertGreater(first['gauc'], 0.6)
    self.assertEqual(first['gauc_by_refresh'], first['gauc'])

  def test_a_summary_has_both(self):
    rows = simulate(item_scale=1.0)
    summary = summary_lib.summarize(rows, np.random.default_rng(0))
    self.assertEqual(summary, summary | quality(rows))

  def test_groups_are_pairs_of_an_entity_and_a_refresh(self):
    rows = simulate(item_scale=0.0)
    groups = scores_lib.refresh_groups(rows)
    self.assertEqual(np.unique(groups).size, _NUM_USERS * _NUM_DAYS)
    pairs = set(zip(groups, rows.entity, rows.day, strict=True))
    self.assertLen(pairs, _NUM_USERS * _NUM_DAYS)

  def test_no_rows_have_no_groups(self):
    self.assertEqual(
        scores_lib.refresh_groups(scores_lib.concatenate([])).size, 0
    )


if __name__ == '__main__':
  absltest.main()
