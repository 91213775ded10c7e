from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax.data.tasks import event_split

DAY = 86400
START = 1_600_000_000  # 2020-09-13T12:26:40 UTC.


def split(timestamps, keys=None, **protocol):
  """Splits the given lists of times, one per entity."""
  sizes = [len(times) for times in timestamps]
  offsets = np.concatenate([[0], np.cumsum(sizes)])
  return event_split.split_events(
      keys or [f'key{index}' for index in range(len(sizes))],
      offsets,
      np.concatenate(timestamps).astype(np.int64),
      protocol=config_lib.ProtocolConfig(**protocol),
  )


def random_log(num_entities=300, seed=0):
  """Returns times with many ties, 1 to 40 of them per entity."""
  rng = np.random.default_rng(seed)
  return [
      np.sort(START + rng.integers(0, 12, rng.integers(1, 41)) * DAY)
      for _ in range(num_entities)
  ]


def roles(log, result):
  """Yields (positions of history, of test, times) of each entity."""
  start = 0
  for times, size in zip(log, result.num_history, strict=True):
    kept = np.flatnonzero(result.keep[start:start + len(times)])
    yield kept[:size], kept[size:], times
    start += len(times)


BY_TIME = {
    'split': 'by_time',
    'validation_start': '2020-09-16T12:26:40+00:00',
    'train_end': '2020-09-19T12:26:40+00:00',
    'test_end': '2020-09-23T12:26:40+00:00',
}


class SplitTest(parameterized.TestCase):

  @parameterized.named_parameters(
      # floor(10 * 0.8) = 8, and event 7 ends before event 8.
      ('plain', range(10), 0.2, 8),
      # 10 * (1 - 0.9) is 0.99999 in floating point and 1 in truth.
      ('rounding', range(10), 0.9, 1),
      # floor(4 * 0.8) = 3: event 3 is as old as event 1, so tests begin at 1.
      ('ties_go_to_test', [0, 1, 1, 1], 0.2, 1),
      ('all_alike', [3, 3, 3, 3], 0.2, 0),
      ('single', [0], 0.2, 0),
      ('no_tests', [0, 1, 1], 0.0, 3),
  )
  def test_within_entity(self, times, fraction, num_train):
    # The second entity is there to be trained on, and to follow in time.
    result = split(
        [np.asarray(times), np.arange(3, 103)], test_fraction=fraction
    )
    self.assertEqual(result.num_train[0], num_train)
    self.assertTrue(result.keep.all())

  def test_equal_times_of_another_entity_are_no_tie(self):
    result = split([[1, 2, 3, 5], [5, 5, 5], range(10)])
    self.assertEqual(result.num_train.tolist(), [3, 0, 8])

  def test_by_time_tests_from_train_end_until_test_end(self):
    log = [START + np.arange(12) * DAY]
    result = split(log, **BY_TIME)
    # Days 0 to 5 train, 6 to 9 test, 10 and 11 are dropped.
    self.assertEqual(result.num_train.tolist(), [6])
    self.assertEqual(result.keep.tolist(), [True] * 10 + [False] * 2)
    self.assertEqual(result.test_end, START + 10 * DAY)

  def test_by_time_validation_tests_until_train_end(self):
    log = [START + np.arange(12) * DAY]
    result = split(log, phase='validation', **BY_TIME)
    self.assertEqual(result.num_train.tolist(), [3])
    self.assertEqual(result.keep.sum(), 6)
    self.assertEqual(result.cutoffs, (START + 3 * DAY,))

  def test_cutoffs_repeat_until_test_end(self):
    log = [START + np.arange(12) * DAY]
    result = split(log, refresh_hours=36, **BY_TIME)
    # 4 days from day 6: after 0, 1.5 and 3 days; 4.5 would be too late.
    self.assertEqual(
        result.cutoffs,
        tuple(START + int(day * DAY) for day in (6, 7.5, 9)),
    )
    self.assertEqual(result.refresh_seconds, 36 * 3600)

  @parameterized.product(
      protocol=[
          {'test_fraction': 0.2},
          {'test_fraction': 0.5, 'new_entity_fraction': 0.3},
          BY_TIME,
      ],
      phase=['test', 'validation'],
  )
  def test_history_is_strictly_earlier_than_tests(self, protocol, phase):
    log = random_log()
    num_tested = 0
    result = split(log, phase=phase, **protocol)
    for history, tested, times in roles(log, result):
      num_tested += len(tested)
      if len(history) and len(tested):
        self.assertLess(times[history].max(), times[tested].min())
    self.assertGreater(num_tested, 100)

  @parameterized.named_parameters(
      ('within_entity', {'test_fraction': 0.3}),
      ('newcomers', {'test_fraction': 0.3, 'new_entity_fraction': 0.3}),
      ('by_time', BY_TIME),
  )
  def test_validation_hides_every_test_event(self, protocol):
    log = random_log()
    test = roles(log, split(log, **protocol))
    validation = roles(log, split(log, phase='validation', **protocol))
    for (_, tested, times), (history, validated, _) in zip(
        test, validation, strict=True
    ):
      hidden = times[tested].min(initial=np.iinfo(np.int64).max)
      self.assertEmpty(set(tested) & (set(history) | set(validated)))
      self.assertTrue((times[history] < hidden).all())
      self.assertTrue((times[validated] < hidden).all())


class NewcomersTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.log = [START + np.arange(20) * DAY for _ in range(400)]
    self.result = split(
        self.log, test_fraction=0.2, new_entity_fraction=0.25
    )
    self.newcomer = self.result.num_train == 0

  def test_are_the_asked_share(self):
    # Standard deviation of the share is 0.022.
    self.assertAlmostEqual(self.newcomer.mean(), 0.25, delta=0.09)

  def test_are_tested_after_0_3_or_12_events(self):
    histories = self.result.num_history[self.newcomer]
    self.assertEqual(set(histories.tolist()), {0, 3, 12})
    self.assertEqual(set(self.result.num_history[~self.newcomer]), {16})

  def test_are_tested_as_much_as_anyone(self):
    for _, tested, _ in roles(self.log, self.result):
      self.assertLen(tested, 4)  # 20 * 0.2.

  def test_depend_on_nothing_but_the_key(self):
    alone = split(
        [self.log[0], self.log[0]],
        keys=['key7', 'key399'],
        test_fraction=0.2,
        new_entity_fraction=0.25,
    )
    self.assertEqual(
        alone.num_train.tolist(), self.result.num_train[[7, 399]].tolist()
    )

  def test_of_validation_are_others(self):
    validation = split(
        self.log, test_fraction=0.2, new_entity_fraction=0.25,
        phase='validation',
    )
    kept = validation.keep.reshape(400, 20).any(axis=1)
    # Newcomers of the test are unknown yet, and some others play their part.
    self.assertEqual(kept.tolist(), (~self.newcomer).tolist())
    played = (validation.num_train == 0) & kept
    self.assertAlmostEqual(played.mean(), 0.25, delta=0.09)


class WrongSettingsTest(parameterized.TestCase):

  @parameterized.named_parameters(
      ('split', {'split': 'random'}, 'protocol.split'),
      ('phase', {'phase': 'train'}, 'protocol.phase'),
      ('fraction', {'test_fraction': 1.0}, 'protocol.test_fraction'),
      ('refresh', {'refresh_hours': 24}, 'protocol.refresh_hours'),
      ('newcomers', BY_TIME | {'new_entity_fraction': 0.1},
       'protocol.new_entity_fraction'),
      ('no_zone', BY_TIME | {'train_end': '2020-09-19'}, 'protocol.train_end'),
      ('no_time', BY_TIME | {'test_end': 'May'}, 'protocol.test_end'),
      ('order', BY_TIME | {'test_end': '2020-09-01T00:00:00+00:00'},
       'protocol.train_end'),
      ('no_training', BY_TIME | {'train_end': '2019-09-19T00:00:00+00:00'},
       'no event is left to train on'),
  )
  def test_is_named(self, protocol, message):
    with self.assertRaisesRegex(errors.InputError, message) as caught:
      split([START + np.arange(12) * DAY], **protocol)
    self.assertNotIn('\n', str(caught.exception))


if __name__ == '__main__':
  absltest.main()
