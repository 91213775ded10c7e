from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments.baselines import rates
from experiments.baselines import tabular
from tests.experiments.baselines import daily_world


def draw_events(num_values=1, seed=0):
  rng = np.random.default_rng(seed)
  num_events = 60
  values = rng.integers(-1, 5, (num_events, num_values))
  times = rng.integers(100, 120, num_events)  # Many at once.
  labels = rng.integers(0, 2, num_events).astype(np.float32)
  return values, times, labels


class PastCountsTest(absltest.TestCase):

  def test_counts_strictly_earlier_events_of_the_key(self):
    counts = rates.past_counts(
        np.asarray([3, 3, 9, 3, 3]),
        np.asarray([10, 20, 20, 20, 30]),
        np.asarray([1, 0, 1, 1, 0]),
        np.asarray([10, 20, 20, 20, 30]),
    )
    # At 20 only the event at 10 is past; at 30 three are, two of them 1.
    np.testing.assert_array_equal(counts.total, [0, 1, 0, 1, 3])
    np.testing.assert_array_equal(counts.positive, [0, 1, 0, 1, 2])

  def test_times_before_1970_are_times(self):
    times = np.asarray([10, 20, 20, 20, 30])
    arguments = np.asarray([3, 3, 9, 3, 3]), np.asarray([1, 0, 1, 1, 0])
    later, earlier = (
        rates.past_counts(arguments[0], t, arguments[1], t)
        for t in (times, times - 10**9)
    )
    np.testing.assert_array_equal(earlier.total, later.total)
    np.testing.assert_array_equal(earlier.positive, later.positive)

  def test_smooths_towards_the_prior(self):
    counts = rates.PastCounts(np.asarray([0.0, 4.0]), np.asarray([0.0, 3.0]))
    # (3 + 2 * .25) / (4 + 2).
    np.testing.assert_allclose(counts.smoothed(0.25, 2.0), [0.25, 3.5 / 6])


class PastRatesTest(parameterized.TestCase):

  @parameterized.parameters((1, 0), (3, 0), (3, 7))
  def test_equals_counting_one_by_one(self, num_values, delay):
    values, times, labels = draw_events(num_values)
    cutoffs = times - delay
    prior = np.linspace(0.1, 0.9, len(times))
    rate, total = rates.past_rates(
        values, times, labels, cutoffs, prior=prior, strength=3.0
    )
    for n in range(len(times)):
      own = [v for v in values[n] if v >= 0]
      if not own:
        self.assertEqual((rate[n], total[n]), (prior[n], 0))
        continue
      seen = [
          [labels[m] for m in range(len(times)) if times[m] < cutoffs[n]
           for v in values[m] if v == value]
          for value in own
      ]  # fmt: skip
      expected = [(sum(s) + 3 * prior[n]) / (len(s) + 3) for s in seen]
      self.assertAlmostEqual(rate[n], np.mean(expected))
      self.assertAlmostEqual(total[n], np.mean([len(s) for s in seen]))

  def test_pairs_have_keys_of_their_own(self):
    keys = rates.cross(np.asarray([0, 1]), np.asarray([[3, -1], [0, 3]]), 4)
    np.testing.assert_array_equal(keys, [[3, -1], [4, 7]])


class TabularTest(parameterized.TestCase):

  @parameterized.named_parameters(('at_event', False), ('at_refresh', True))
  def test_a_label_changes_no_earlier_row_and_not_its_own(self, at_refresh):
    data = daily_world.make()
    settings = tabular.RateSettings(at_refresh=at_refresh)
    since = data.info.cutoffs[1]
    before = tabular.make(data, settings)
    after = tabular.make(daily_world.relabel(data, since), settings)
    is_earlier = data.table.timestamps <= since
    np.testing.assert_array_equal(
        before.values[is_earlier], after.values[is_earlier]
    )
    self.assertTrue(np.any(before.values != after.values))

  def test_rates_at_a_refresh_see_nothing_of_its_day(self):
    data = daily_world.make()
    settings = tabular.RateSettings(at_refresh=True)
    since = data.info.cutoffs[-1]
    before = tabular.make(data, settings)
    after = tabular.make(daily_world.relabel(data, since), settings)
    np.testing.assert_array_equal(before.values, after.values)

  def test_item_rates_read_nothing_of_the_entitys_events(self):
    data = daily_world.make()
    both = tabular.make(data, tabular.RateSettings())
    of_items = tabular.make(data, tabular.RateSettings(of_entities=False))
    self.assertIn('rate of user_id', both.names)
    self.assertIn('rate of user_id with colors', both.names)
    self.assertContainsSubset(of_items.names, both.names)
    self.assertEmpty([n for n in of_items.names if 'user_id' in n])


if __name__ == '__main__':
  absltest.main()
