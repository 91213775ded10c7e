import dataclasses
import sys
from unittest import mock

from absl.testing import absltest
import numpy as np

from experiments.baselines import request as request_lib
from experiments.baselines import tabular
from experiments.baselines import trees
from limaml_jax import errors
from limaml_jax.evaluation import metrics
from tests.experiments.baselines import daily_world


def score(data, **settings):
  settings = dataclasses.replace(
      trees.Settings(),
      num_trees=10,
      learning_rate=0.2,
      min_leaf_rows=5,
      **settings,
  )
  request = request_lib.Request(data, None, seed=0, workdir=None)
  return trees.score(request, settings)


class TreesTest(absltest.TestCase):

  def test_learns_the_taste_of_entities(self):
    data = daily_world.make(num_entities=60)
    rates = tabular.RateSettings(strength=1.0)
    of_items = dataclasses.replace(rates, of_entities=False)
    roc_auc = lambda s: metrics.RocAuc.from_scores(s.score, s.label).compute()
    self.assertGreater(
        roc_auc(score(data, rates=rates)),
        roc_auc(score(data, rates=of_items)) + 0.1,
    )

  def test_no_label_of_the_test_window_is_trained_on(self):
    data = daily_world.make()
    # No label is in any column of the first day, whatever trees are boosted.
    rates = tabular.RateSettings(at_refresh=True)
    before = score(data, rates=rates)
    relabelled = daily_world.relabel(data, data.info.cutoffs[0])
    same = before.score == score(relabelled, rates=rates).score
    self.assertTrue(np.all(same[before.day == 0]))
    self.assertFalse(np.all(same[before.day > 0]))

  def test_refuses_training_events_of_one_label(self):
    data = daily_world.make()
    table = data.table._replace(labels=np.ones_like(data.table.labels))
    with self.assertRaisesRegex(errors.InputError, 'of both labels'):
      score(data._replace(table=table))

  def test_names_the_extra_where_scikit_learn_is_missing(self):
    with mock.patch.dict(sys.modules, {'sklearn': None}):
      with self.assertRaisesRegex(errors.InputError, r'limaml-jax\[studies\]'):
        score(daily_world.make())


if __name__ == '__main__':
  absltest.main()
