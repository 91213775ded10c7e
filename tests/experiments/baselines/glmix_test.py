import dataclasses

from absl.testing import absltest
import numpy as np

from experiments.baselines import glmix
from experiments.baselines import request as request_lib
from limaml_jax.evaluation import metrics
from tests.experiments.baselines import daily_world


def with_planted_levels(seed=0):
  """Each entity likes nearly everything, or nearly nothing."""
  data = daily_world.make(num_entities=40, seed=seed)
  rng = np.random.default_rng(seed)
  table = data.table
  sizes = np.diff(table.offsets)
  level = np.repeat(rng.choice([0.1, 0.9], sizes.size), sizes)
  labels = (rng.random(level.size) < level).astype(np.float32)
  return data._replace(table=table._replace(labels=labels, targets=labels))


def roc_auc(scores):
  return metrics.RocAuc.from_scores(scores.score, scores.label).compute()


def score(data, **settings):
  settings = dataclasses.replace(glmix.Settings(), **settings)
  request = request_lib.Request(data, None, seed=0, workdir=None)
  return glmix.score(request, settings)


class GlmixTest(absltest.TestCase):

  def test_finds_the_level_of_an_entity(self):
    data = with_planted_levels()
    # A prior so strong that nothing of an entity's own is left.
    fixed = score(data, constant_precision=1e9, taste_precision=1e9)
    self.assertGreater(roc_auc(score(data)), roc_auc(fixed) + 0.1)

  def test_learns_nothing_from_a_refresh_on(self):
    data = daily_world.make(num_entities=20)
    scores = score(data)
    changed = score(daily_world.relabel(data, data.info.cutoffs[1]))
    same = scores.score == changed.score
    self.assertTrue(np.all(same[scores.day <= 1]))
    self.assertFalse(np.all(same[scores.day > 1]))

  def test_only_the_latest_events_count(self):
    data = with_planted_levels()
    self.assertFalse(
        np.array_equal(score(data).score, score(data, max_events=2).score)
    )


if __name__ == '__main__':
  absltest.main()
