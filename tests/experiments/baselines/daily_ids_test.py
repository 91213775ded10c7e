import dataclasses
import pathlib

from absl.testing import absltest
import numpy as np

from experiments.baselines import daily_ids
from tests.experiments.baselines import daily_world


class DailyIdsTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.workdir = pathlib.Path(self.create_tempdir().full_path)
    self.data = daily_world.make()
    self.config = daily_world.make_config(
        outer_loop__learning_rate=0.02, outer_loop__table_learning_rate=0.02
    )

  def score(self, data=None, **settings):
    return daily_ids.score(
        data or self.data,
        self.config,
        seed=0,
        workdir=self.workdir,
        settings=dataclasses.replace(daily_ids.Settings(), **settings),
    )

  def test_learns_nothing_from_a_refresh_on(self):
    before = self.score()
    for day, cutoff in enumerate(self.data.info.cutoffs[:-1]):
      after = self.score(daily_world.relabel(self.data, cutoff))
      same = before.score == after.score
      self.assertTrue(np.all(same[before.day <= day]), msg=day)
      self.assertFalse(np.any(same[before.day > day]), msg=day)

  def test_the_first_day_is_scored_as_trained(self):
    usual, fast = self.score(), self.score(rate_factor=5.0)
    is_first = usual.day == 0
    np.testing.assert_array_equal(usual.score[is_first], fast.score[is_first])
    self.assertFalse(np.any(usual.score[~is_first] == fast.score[~is_first]))

  def test_whoever_is_new_gets_a_row_at_the_next_refresh(self):
    data = daily_ids.with_row_for_each_entity(self.data)
    table = data.table
    ids = lambda data: data.table.entity_features['user_id']
    is_new = table.num_train == 0
    self.assertTrue(np.any(is_new))
    self.assertTrue(np.all(ids(data)[is_new] == 0))
    cutoff = self.data.info.cutoffs[2]
    later = daily_ids.known_before(data, cutoff)
    first = table.timestamps[table.offsets[:-1]]
    number = np.arange(is_new.size) + 1
    np.testing.assert_array_equal(
        ids(later), np.where(first < cutoff, number, 0)
    )
    spec = next(s for s in data.info.features if s.name == 'user_id')
    self.assertEqual(spec.num_rows, is_new.size + 1)

  def test_a_single_refresh_scores_the_network_as_trained(self):
    info = dataclasses.replace(self.data.info, cutoffs=(), refresh_seconds=0)
    scores = self.score(self.data._replace(info=info))
    np.testing.assert_array_equal(np.unique(scores.day), [0])


if __name__ == '__main__':
  absltest.main()
