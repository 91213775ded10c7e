from absl.testing import absltest
import numpy as np

from limaml_jax import config as config_lib
from limaml_jax import overrides
from limaml_jax.data import episodes
from limaml_jax.data import holdout
from limaml_jax.data import reader
from tests import synthetic

_NAMES = episodes.FeatureNames(('user_id', 'age'), ('item_id',))
_FRACTION = 0.3


def make_config(**settings):
  return overrides.override(
      config_lib.Config(),
      {
          'episodes.tasks_per_step': 8,
          'episodes.support_buckets': (6,),
          'episodes.query_buckets': (3,),
          'episodes.support_dropout': 1.0,
          'outer_loop.holdout_fraction': _FRACTION,
          'outer_loop.num_epochs': 2,
      }
      | settings,
  )


def query_times(table, index):
  sizes = index.query_stop - index.query_start
  return np.concatenate([
      table.timestamps[start : start + size]
      for start, size in zip(index.query_start, sizes, strict=True)
  ])


class SplitTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.table, self.info = synthetic.make_tasks()
    self.index = episodes.plan(self.table, self.info, make_config().episodes)

  def test_all_that_judges_is_later_than_all_that_trains(self):
    parts = holdout.split(self.table, self.index, _FRACTION)
    train, judge = (query_times(self.table, part) for part in parts)
    self.assertGreater(train.size, 20)
    times = np.sort(query_times(self.table, self.index))
    moment = times[int((1 - _FRACTION) * times.size)]
    self.assertLess(np.max(train), moment)
    self.assertGreaterEqual(np.min(judge), moment)

  def test_such_a_fraction_of_the_rows_judges(self):
    _, judge = holdout.split(self.table, self.index, _FRACTION)
    times = query_times(self.table, self.index)
    late = np.sort(times)[int((1 - _FRACTION) * times.size) :]
    self.assertLessEqual(query_times(self.table, judge).size, late.size)
    # But for episodes on both sides, of which the first rows are early.
    starts = self.table.timestamps[self.index.query_start]
    expected = self.index.take(np.flatnonzero(starts >= late[0]))
    np.testing.assert_array_equal(judge.query_start, expected.query_start)

  def test_no_episode_is_in_both(self):
    train, judge = holdout.split(self.table, self.index, _FRACTION)
    self.assertEmpty(set(train.query_start) & set(judge.query_start))

  def test_nothing_is_split_into_nothing(self):
    nothing = self.index.take(np.zeros(0, np.int64))
    for part in holdout.split(self.table, nothing, _FRACTION):
      self.assertEqual(part.entity.size, 0)


class ReaderTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.table, self.info = synthetic.make_tasks()
    config = make_config()
    index = episodes.plan(self.table, self.info, config.episodes)
    self.train, self.judge = holdout.split(self.table, index, _FRACTION)
    arguments = {'names': _NAMES, 'config': config}
    _, self.plan = reader.make_reader(self.table, self.info, **arguments)
    self.steps = reader.make_holdout(self.table, self.info, **arguments)

  def test_what_is_held_out_does_not_train(self):
    np.testing.assert_array_equal(
        self.plan.index.query_start, self.train.query_start
    )

  def test_each_held_out_episode_judges_once_with_all_its_support(self):
    sizes = {}
    for n in range(len(self.steps)):
      batch = self.steps[n]
      kept = np.sum(batch.episodes.support.mask > 0, axis=1)
      for identity, size in zip(batch.identity, kept, strict=True):
        if identity >= 0:
          self.assertNotIn(identity, sizes)
          sizes[int(identity)] = int(size)
    expected, _ = self.judge.sizes()
    self.assertGreater(np.max(expected), 0)
    self.assertEqual(sizes, dict(enumerate(expected.tolist())))


if __name__ == '__main__':
  absltest.main()
