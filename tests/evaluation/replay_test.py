"""Replay on a hand-made log: two refreshes a day apart, events on the edge."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax import errors
from limaml_jax import types
from limaml_jax.data import dataset
from limaml_jax.evaluation import replay

_DAY = 86400
# Entity 0: two events of history, one exactly at the first refresh, one on the
# second day. Entity 1: an event of history, one just before the second refresh
# and one exactly at it. Entity 2: no history, one event on the second day.
_TIMES = (
    [_DAY - 500, _DAY - 100, _DAY, 2 * _DAY + 50],
    [_DAY - 1, 2 * _DAY - 1, 2 * _DAY],
    [2 * _DAY + 7],
)


def make_data(cutoffs=(_DAY, 2 * _DAY)):
  times = np.concatenate(_TIMES)
  history = np.asarray([2, 1, 0])
  table = dataset.TaskTable(
      entity_keys=np.asarray(['a', 'b', 'c']),
      offsets=np.asarray([0, 4, 7, 8]),
      num_train=history,
      num_history=history,
      timestamps=times,
      labels=(np.arange(times.size) % 2).astype(np.float32),
      targets=np.zeros(times.size, np.float32),
      weights=np.ones(times.size, np.float32),
      entity_features={'age': np.asarray([10.0, 20.0, 30.0], np.float32)},
      event_features={'item': np.arange(times.size, dtype=np.int32)},
  )
  info = dataset.DatasetInfo(
      name='edges',
      entity_type='user',
      entity_feature='user',
      item_feature='item',
      num_interactions=8,
      num_entities=3,
      num_train=3,
      label_mean=0.5,
      protocol='',
      cutoffs=cutoffs,
      test_end=3 * _DAY,
      refresh_seconds=_DAY,
      features=(types.FeatureSpec('item', 'categorical', 'item', 'global', 9),),
      request='',
      fingerprint='',
      encoding='',
  )
  return table, info


class TestRowsTest(absltest.TestCase):

  def test_an_event_at_a_refresh_is_served_by_it(self):
    rows = replay.test_rows(*make_data())
    np.testing.assert_array_equal(rows.event, [2, 3, 5, 6, 7])
    np.testing.assert_array_equal(rows.entity, [0, 0, 1, 1, 2])
    np.testing.assert_array_equal(rows.day, [0, 1, 0, 1, 1])

  def test_support_is_strictly_before_the_refresh(self):
    rows = replay.test_rows(*make_data())
    # Of entity 1, the event at the second refresh does not count.
    np.testing.assert_array_equal(rows.support_size, [2, 3, 1, 2, 0])

  def test_each_entity_has_a_cutoff_of_its_own_without_common_ones(self):
    table, info = make_data(cutoffs=())
    cutoffs = replay.entity_cutoffs(table)
    np.testing.assert_array_equal(cutoffs, [_DAY, 2 * _DAY - 1, 2 * _DAY + 7])
    rows = replay.test_rows(table, info)
    np.testing.assert_array_equal(rows.support_size, [2, 2, 1, 1, 0])

  def test_cutoff_without_test_events_is_after_the_last_one(self):
    table, _ = make_data(cutoffs=())
    table = table._replace(num_history=np.asarray([4, 3, 1]))
    np.testing.assert_array_equal(
        replay.entity_cutoffs(table),
        [2 * _DAY + 51, 2 * _DAY + 1, 2 * _DAY + 8],
    )


class ReplayTest(parameterized.TestCase):

  def run_replay(self, **kwargs):
    self.calls = []
    # Vectors are the number of the refresh, plus 10 for b and 20 for c.
    watermarks = {'a': _DAY - 100, 'b': _DAY - 1}

    def refresh(cutoff):
      self.calls.append(('refresh', cutoff))

    def lookup(keys, now):
      self.calls.append(('lookup', tuple(keys), now))
      ages = [now - watermarks.get(key, now + 1) for key in keys]
      number = sum(call[0] == 'refresh' for call in self.calls)
      statuses = np.where(np.asarray(ages) < 0, 2, 0).astype(np.uint8)
      own = np.asarray([[10.0 * 'abc'.index(key)] for key in keys])
      return number + own, statuses, np.asarray(ages)

    def score(vectors, features):
      return (vectors[:, 0] + features['item']) / 64

    return replay.replay(
        *make_data(),
        names=('item',),
        refresh=refresh,
        lookup=lookup,
        score=score,
        **kwargs,
    )

  def test_reads_each_entity_once_after_each_refresh(self):
    self.run_replay()
    self.assertEqual(
        self.calls,
        [
            ('refresh', _DAY),
            ('lookup', ('a', 'b'), _DAY),
            ('refresh', 2 * _DAY),
            ('lookup', ('a', 'b', 'c'), 2 * _DAY),
        ],
    )

  def test_scores_rows_with_the_vector_of_their_day(self):
    scores = self.run_replay()
    # Number of the refresh + the entity's own + item, day after day.
    np.testing.assert_allclose(
        scores.score * 64, [1 + 2, 1 + 10 + 5, 2 + 3, 2 + 10 + 6, 2 + 20 + 7]
    )
    np.testing.assert_array_equal(scores.label, [0, 1, 1, 0, 1])

  def test_age_is_from_the_watermark_to_the_row(self):
    scores = self.run_replay()
    np.testing.assert_array_equal(
        scores.age_seconds, [100, _DAY, _DAY + 150, _DAY + 1, -1]
    )

  @parameterized.parameters(
      (0, [0, 0, 0, 0, 2]), (_DAY, [0, 0, 1, 1, 2]), (_DAY + 1, [0, 0, 1, 0, 2])
  )
  def test_stale_is_judged_at_the_time_of_the_row(self, max_age, expected):
    scores = self.run_replay(max_age_seconds=max_age)
    np.testing.assert_array_equal(scores.status, expected)

  def test_a_schedule_says_what_serves_each_row(self):
    # Three refreshes; the second one comes between the protocol's two.
    schedule = replay.Schedule(
        starts=(_DAY, 2 * _DAY - 1, 2 * _DAY), cutoffs=(1, 2, _DAY)
    )
    scores = self.run_replay(schedule=schedule)
    self.assertEqual(
        self.calls,
        [
            ('refresh', 1), ('lookup', ('a',), 1),
            ('refresh', 2), ('lookup', ('b',), 2),
            ('refresh', _DAY), ('lookup', ('a', 'b', 'c'), _DAY),
        ],
    )  # fmt: skip
    np.testing.assert_allclose(
        scores.score * 64, [1 + 2, 2 + 10 + 5, 3 + 3, 3 + 10 + 6, 3 + 20 + 7]
    )

  def test_rows_are_those_of_the_protocol_under_any_schedule(self):
    plain = self.run_replay()
    schedule = replay.Schedule(
        starts=(_DAY, 2 * _DAY - 1, 2 * _DAY + 1), cutoffs=(1, 2, _DAY)
    )
    scheduled = self.run_replay(schedule=schedule)
    for name in ('entity', 'day', 'label', 'support_size'):
      np.testing.assert_array_equal(
          getattr(plain, name), getattr(scheduled, name), name
      )

  def test_a_row_before_the_first_refresh_of_a_schedule_is_refused(self):
    with self.assertRaisesRegex(ValueError, 'precedes'):
      self.run_replay(schedule=replay.Schedule((_DAY + 1,), (_DAY,)))


class MakeScheduleTest(absltest.TestCase):

  def test_delays_what_the_protocol_refreshes(self):
    _, info = make_data()
    schedule = replay.make_schedule(info, delay_hours=48)
    self.assertEqual(schedule.starts, (_DAY, 2 * _DAY))
    self.assertEqual(schedule.cutoffs, (-_DAY, 0))

  def test_refreshes_as_often_as_asked_until_the_test_ends(self):
    _, info = make_data()
    schedule = replay.make_schedule(info, hours=12)
    half = _DAY // 2
    self.assertEqual(schedule.starts, (_DAY, 3 * half, 2 * _DAY, 5 * half))
    self.assertEqual(schedule.cutoffs, schedule.starts)

  def test_entities_with_cutoffs_of_their_own_have_none(self):
    _, info = make_data(cutoffs=())
    with self.assertRaisesRegex(errors.InputError, 'by_time'):
      replay.make_schedule(info, hours=12)


if __name__ == '__main__':
  absltest.main()
