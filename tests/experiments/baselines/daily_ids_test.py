import dataclasses
import pathlib
import shutil
import tempfile

from absl.testing import absltest
import numpy as np

from experiments.baselines import daily_ids
from experiments.baselines import request as request_lib
from tests.experiments.baselines import daily_world


class DailyIdsTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.workdir = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.workdir)
    cls.data = daily_world.make()
    # Trained once; what follows reads its checkpoint.
    cls.scores = cls.score()

  @classmethod
  def score(cls, data=None, workdir=None, ensemble_size=1, **settings):
    config = daily_world.make_config(
        model__ensemble_size=ensemble_size,
        outer_loop__learning_rate=0.02,
        outer_loop__table_learning_rate=0.02,
        outer_loop__holdout_fraction=0.2,
        training__checkpoint_every=10,
    )
    request = request_lib.Request(
        data or cls.data, config, seed=0, workdir=workdir or cls.workdir
    )
    settings = dataclasses.replace(daily_ids.Settings(), **settings)
    return daily_ids.score(request, settings)

  def test_learns_nothing_from_a_refresh_on(self):
    cutoff = self.data.info.cutoffs[1]
    after = self.score(daily_world.relabel(self.data, cutoff))
    same = self.scores.score == after.score
    self.assertTrue(np.all(same[after.day <= 1]))
    self.assertFalse(np.any(same[after.day > 1]))

  def test_the_first_day_is_scored_as_trained(self):
    fast = self.score(rate_factor=5.0)
    same = self.scores.score == fast.score
    self.assertTrue(np.all(same[fast.day == 0]))
    self.assertFalse(np.any(same[fast.day > 0]))

  def test_an_ensemble_is_trained_daily_too(self):
    workdir = pathlib.Path(self.create_tempdir().full_path)
    scores = self.score(workdir=workdir, ensemble_size=2)
    np.testing.assert_array_equal(scores.entity, self.scores.entity)
    correlation = np.corrcoef(scores.score, self.scores.score)[0, 1]
    self.assertGreater(correlation, 0.5)
    self.assertLess(correlation, 1.0)

  def test_nothing_of_a_day_is_held_out(self):
    table, cutoffs = self.data.table, self.data.info.cutoffs
    is_first = (table.timestamps >= cutoffs[0]) & (
        table.timestamps < cutoffs[1]
    )
    last = np.max(table.timestamps[is_first])
    labels = np.where(table.timestamps == last, 1 - table.labels, table.labels)
    changed = table._replace(labels=labels, targets=labels)
    after = self.score(self.data._replace(table=changed))
    same = self.scores.score == after.score
    self.assertTrue(np.all(same[after.day == 0]))
    self.assertFalse(np.any(same[after.day == 1]))

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
    workdir = pathlib.Path(self.create_tempdir().full_path)
    scores = self.score(self.data._replace(info=info), workdir)
    np.testing.assert_array_equal(np.unique(scores.day), [0])


if __name__ == '__main__':
  absltest.main()
