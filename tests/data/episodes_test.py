import dataclasses

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.data import dataset
from limaml_jax.data import episodes
from limaml_jax.data import recency
from tests import synthetic

_NAMES = episodes.FeatureNames(meta=('age',), regular=('item_id', 'colors'))
_CONFIG = config_lib.EpisodeConfig(support_buckets=(2, 6), query_buckets=(3, 5))
_WORLDS = tuple({'testcase_name': f'world_{n}', 'seed': n} for n in range(5))


def make_table(histories, *, num_train=None):
  """Returns a table of these event times; every event is its own item."""
  sizes = np.asarray([len(times) for times in histories])
  num_events = int(sizes.sum())
  times = np.asarray([t for history in histories for t in history], np.int64)
  num_entities = len(histories)
  return dataset.TaskTable(
      entity_keys=np.asarray([f'u{n}' for n in range(num_entities)]),
      offsets=np.concatenate([[0], np.cumsum(sizes)]),
      num_history=sizes,
      num_train=sizes if num_train is None else np.asarray(num_train),
      timestamps=times,
      labels=np.zeros(num_events, np.float32),
      targets=np.ones(num_events, np.float32),
      weights=np.ones(num_events, np.float32),
      entity_features={'age': 20.0 + np.arange(num_entities)},
      event_features={
          'item_id': 100 + np.arange(num_events),
          'colors': np.stack([np.arange(num_events)] * 2, axis=1),
      },
  )


def make_info(*, refresh_seconds=0, first_cutoff=0):
  _, info = synthetic.make_tasks(num_entities=2)
  cutoffs = (first_cutoff,) if refresh_seconds else ()
  return dataclasses.replace(
      info, cutoffs=cutoffs, refresh_seconds=refresh_seconds
  )


def make_tied_table(seed):
  """Returns random histories in which most events share their time."""
  rng = np.random.default_rng(seed)
  histories = [
      np.sort(rng.integers(0, 12, rng.integers(0, 25))) for _ in range(30)
  ]
  sizes = np.asarray([times.size for times in histories])
  return make_table(histories, num_train=rng.integers(0, sizes + 1))


def events_of(starts, stops):
  return [np.arange(a, b) for a, b in zip(starts, stops, strict=True)]


def is_training_event(table):
  position = np.arange(table.timestamps.size) - np.repeat(
      table.offsets[:-1], np.diff(table.offsets)
  )
  return position < np.repeat(table.num_train, np.diff(table.offsets))


class PlanTest(parameterized.TestCase):

  @parameterized.named_parameters(*_WORLDS)
  def test_every_training_event_is_a_query_row_once(self, seed):
    table = make_tied_table(seed)
    index = episodes.plan(table, make_info(), _CONFIG)
    rows = np.concatenate(events_of(index.query_start, index.query_stop))
    np.testing.assert_array_equal(
        np.sort(rows), np.flatnonzero(is_training_event(table))
    )

  @parameterized.named_parameters(*_WORLDS)
  def test_support_is_strictly_earlier_than_every_query_row(self, seed):
    table = make_tied_table(seed)
    index = episodes.plan(table, make_info(), _CONFIG)
    num_compared = 0
    supports = events_of(index.support_start, index.support_stop)
    queries = events_of(index.query_start, index.query_stop)
    for support, query in zip(supports, queries, strict=True):
      if support.size:
        latest = table.timestamps[support].max()
        self.assertLess(latest, table.timestamps[query].min())
        num_compared += 1
    self.assertGreater(num_compared, 10)

  @parameterized.named_parameters(*_WORLDS)
  def test_support_is_all_the_latest_events_before_the_query(self, seed):
    table = make_tied_table(seed)
    index = episodes.plan(table, make_info(), _CONFIG)
    for n, entity in enumerate(index.entity):
      own = np.arange(table.offsets[entity], table.offsets[entity + 1])
      first = table.timestamps[index.query_start[n]]
      expected = own[table.timestamps[own] < first][-6:]
      support = np.arange(index.support_start[n], index.support_stop[n])
      np.testing.assert_array_equal(support, expected)

  @parameterized.named_parameters(*_WORLDS)
  def test_no_test_event_is_in_any_episode(self, seed):
    table = make_tied_table(seed)
    index = episodes.plan(table, make_info(), _CONFIG)
    for columns in (
        (index.support_start, index.support_stop),
        (index.query_start, index.query_stop),
    ):
      rows = np.concatenate(events_of(*columns))
      self.assertTrue(is_training_event(table)[rows].all())

  @parameterized.named_parameters(*_WORLDS)
  def test_query_belongs_to_the_entity_and_fits(self, seed):
    table = make_tied_table(seed)
    index = episodes.plan(table, make_info(), _CONFIG)
    self.assertTrue((index.query_start >= table.offsets[index.entity]).all())
    self.assertTrue((index.query_stop <= table.offsets[index.entity + 1]).all())
    self.assertTrue((index.query_stop - index.query_start <= 5).all())
    self.assertTrue((index.query_stop > index.query_start).all())

  def test_entities_that_train_nothing_have_no_episode(self):
    table = make_table([[1, 2], [3, 4]], num_train=[0, 2])
    index = episodes.plan(table, make_info(), _CONFIG)
    np.testing.assert_array_equal(index.entity, [1])

  def test_no_training_events_make_no_episodes(self):
    table = make_table([[1, 2], []], num_train=[0, 0])
    index = episodes.plan(table, make_info(), _CONFIG)
    self.assertEqual(index.entity.size, 0)


class RefreshPeriodTest(parameterized.TestCase):

  def test_query_starts_anew_at_a_refresh(self):
    # Refreshes at 10, 14, ...; by the same steps backwards also at 6.
    table = make_table([[1, 7, 9, 10, 10, 13, 14]])
    info = make_info(refresh_seconds=4, first_cutoff=10)
    index = episodes.plan(table, info, _CONFIG)
    np.testing.assert_array_equal(index.query_start, [0, 1, 3, 6])
    np.testing.assert_array_equal(index.query_stop, [1, 3, 6, 7])

  def test_support_is_strictly_before_the_refresh(self):
    table = make_table([[1, 7, 9, 10, 10, 13, 14]])
    info = make_info(refresh_seconds=4, first_cutoff=10)
    index = episodes.plan(table, info, _CONFIG)
    np.testing.assert_array_equal(index.support_stop, [0, 1, 3, 6])

  def test_long_query_keeps_the_refresh_it_lies_behind(self):
    table = make_table([[5, 10, 11, 12, 13, 14, 15, 16]])
    info = make_info(refresh_seconds=100, first_cutoff=10)
    index = episodes.plan(table, info, _CONFIG)
    # The query from 10 on is cut after 5 rows; neither part sees the other.
    np.testing.assert_array_equal(index.query_start, [0, 1, 6])
    np.testing.assert_array_equal(index.support_stop, [0, 1, 1])

  @parameterized.named_parameters(*_WORLDS)
  def test_every_training_event_is_a_query_row_once(self, seed):
    table = make_tied_table(seed)
    info = make_info(refresh_seconds=3, first_cutoff=7)
    index = episodes.plan(table, info, _CONFIG)
    rows = np.concatenate(events_of(index.query_start, index.query_stop))
    np.testing.assert_array_equal(
        np.sort(rows), np.flatnonzero(is_training_event(table))
    )


  @parameterized.named_parameters(*_WORLDS)
  def test_every_query_lies_between_its_refresh_and_the_next(self, seed):
    table = make_tied_table(seed)
    info = make_info(refresh_seconds=3, first_cutoff=7)
    index = episodes.plan(table, info, _CONFIG)
    num_compared = 0
    supports = events_of(index.support_start, index.support_stop)
    queries = events_of(index.query_start, index.query_stop)
    for support, query in zip(supports, queries, strict=True):
      times = table.timestamps[query]
      # Refreshes are at 1, 4, 7, 10.
      refresh = max(t for t in (-2, 1, 4, 7, 10) if t <= times.min())
      self.assertLess(times.max(), refresh + 3)
      if support.size:
        self.assertLess(table.timestamps[support].max(), refresh)
        num_compared += 1
    self.assertGreater(num_compared, 10)


class MakeIndexTest(parameterized.TestCase):

  @parameterized.parameters((0, 0), (5, 0), (6, 1), (7, 3), (8, 4), (99, 4))
  def test_event_at_the_cutoff_is_excluded(self, cutoff, expected):
    table = make_table([[1, 2], [5, 6, 6, 7]])
    index = episodes.make_index(table, [1], cutoff, support_cap=9)
    self.assertEqual(int(index.support_start[0]), 2)
    self.assertEqual(int(index.support_stop[0] - 2), expected)

  def test_cap_keeps_the_latest(self):
    table = make_table([[1, 2, 3, 4]])
    index = episodes.make_index(table, [0], 4, support_cap=2)
    self.assertEqual((index.support_start[0], index.support_stop[0]), (1, 3))

  def test_every_entity_may_have_its_own_cutoff(self):
    table = make_table([[1, 2, 3], [1, 2, 3]])
    cutoffs = np.asarray([2, 4])
    index = episodes.make_index(table, [1, 0], cutoffs, support_cap=9)
    np.testing.assert_array_equal(index.support_stop, [4, 3])

  def test_support_sizes_are_not_capped(self):
    table = make_table([range(50), [7]])
    sizes = episodes.support_sizes(table, np.asarray([0, 1]), 40)
    np.testing.assert_array_equal(sizes, [40, 1])

  @parameterized.parameters(0, 3, 5, 9)
  def test_one_time_for_all_finds_what_one_each_does(self, time):
    table = make_table([[], [1, 2, 3], [], [3, 3, 5], [7], []])
    entities = np.asarray([5, 1, 3, 0, 4, 2, 3])
    np.testing.assert_array_equal(
        episodes.first_at_or_after(table, entities, time),
        episodes.first_at_or_after(table, entities, np.full(7, time)),
    )


class PadTest(absltest.TestCase):

  def test_appends_tasks_without_an_entity_or_rows(self):
    index = episodes.make_index(
        make_table([[1, 2, 3], [4, 5, 6, 7]]), [1], 7, support_cap=2
    )
    padded = index.pad(3)
    np.testing.assert_array_equal(padded.entity, [1, -1, -1])
    np.testing.assert_array_equal(padded.sizes()[0], [2, 0, 0])
    np.testing.assert_array_equal(padded.take([0]), index)
    np.testing.assert_array_equal(episodes.NOBODY, padded.take([1]))


class AssembleTest(parameterized.TestCase):

  def assemble(self, index, names=_NAMES, table=None, **options):
    return episodes.assemble(
        table or make_table([[1, 2, 3], [4, 5, 6, 7]]),
        index,
        names=names,
        entity_type='user',
        num_support=3,
        num_query=2,
        weights=np.ones(index.entity.size),
        **options,
    )

  def setUp(self):
    super().setUp()
    column = lambda *values: np.asarray(values)
    self.index = episodes.EpisodeIndex(
        entity=column(1, -1),
        support_start=column(3, 0),
        support_stop=column(5, 2),
        query_start=column(5, 0),
        query_stop=column(7, 1),
    )

  def test_rows_are_gathered_oldest_first_and_padded(self):
    episode = self.assemble(self.index)
    features = episode.support.features
    # -1 reads no row of a table.
    np.testing.assert_array_equal(features['item_id'][0], [103, 104, -1])
    np.testing.assert_array_equal(
        features['colors'][0], [[3, 3], [4, 4], [-1, -1]]
    )
    np.testing.assert_array_equal(episode.support.mask[0], [1, 1, 0])
    np.testing.assert_array_equal(
        episode.query.features['item_id'][0], [105, 106]
    )

  def test_mask_is_the_weight_of_real_rows(self):
    table = make_table([[1, 2, 3], [4, 5, 6, 7]])
    table = table._replace(weights=np.asarray([9, 9, 9, 0.5, 2, 1, 3]))
    episode = self.assemble(self.index, table=table)
    np.testing.assert_array_equal(
        episode.support.mask, [[0.5, 2, 0], [0, 0, 0]]
    )
    np.testing.assert_array_equal(episode.query.mask, [[1, 3], [0, 0]])

  def test_support_rows_weigh_less_by_their_age(self):
    table = make_table([[1, 2, 3], [4, 5, 6, 7]])
    table = table._replace(
        timestamps=np.asarray([1, 2, 3, 0, 2, 6, 7]) * 86400,
        weights=np.asarray([9, 9, 9, 0.5, 2, 1, 3]),
    )
    ages = recency.HalfLives(days=2.0)
    episode = self.assemble(self.index, table=table, half_lives=ages)
    np.testing.assert_allclose(
        episode.support.mask, [[0.25, 2, 0], [0, 0, 0]]
    )
    np.testing.assert_array_equal(episode.query.mask, [[1, 3], [0, 0]])
    self.assertEqual(episode.support.mask.dtype, np.float32)

  def test_padding_task_has_no_real_row(self):
    episode = self.assemble(self.index)
    for examples in (episode.support, episode.query):
      np.testing.assert_array_equal(examples.mask[1], 0)
      np.testing.assert_array_equal(examples.labels[1], 0)

  def test_rows_are_learned_by_their_targets(self):
    # All labels of the table are 0, all targets 1.
    for examples in self.assemble(self.index)[:2]:
      np.testing.assert_array_equal(examples.labels, examples.mask > 0)

  def test_ages_count_from_the_latest_real_row(self):
    table = make_table([(1000,), (10, 17, 17, 20, 99)])
    index = episodes.make_index(table, [1], 50, support_cap=3)
    episode = episodes.assemble(
        table,
        index,
        names=_NAMES,
        entity_type='user',
        num_support=5,
        num_query=2,
        weights=np.ones(1),
    )
    np.testing.assert_array_equal(episode.support.ages, [[3, 3, 0, 0, 0]])
    np.testing.assert_array_equal(episode.query.ages, [[0, 0]])

  def test_features_of_the_entity_are_one_row(self):
    episode = self.assemble(self.index)
    ages = episode.support.meta_features['user']['age']
    np.testing.assert_array_equal(ages[0], [21.0])

  def test_varying_meta_features_are_a_row_each(self):
    names = _NAMES._replace(meta=('age', 'item_id'))
    features = self.assemble(self.index, names).support.meta_features['user']
    np.testing.assert_array_equal(features['age'][0], [21.0, 21.0, 21.0])
    np.testing.assert_array_equal(features['item_id'][0], [103, 104, -1])

  def test_first_input_without_support_is_the_unknown_event(self):
    names = _NAMES._replace(meta=('age', 'item_id', 'colors'))
    empty = self.index._replace(support_stop=self.index.support_start)
    features = self.assemble(empty, names).support.meta_features['user']
    np.testing.assert_array_equal(features['age'][0], [21.0, 21.0, 21.0])
    # Out of vocabulary, then nothing.
    np.testing.assert_array_equal(features['item_id'][0], [0, -1, -1])
    np.testing.assert_array_equal(features['colors'][0], -1)

  def test_nothing_is_known_of_the_entity_of_a_padding_task(self):
    episode = self.assemble(self.index)
    ages = episode.support.meta_features['user']['age']
    np.testing.assert_array_equal(ages[1], [np.nan])

  def test_entity_features_of_the_global_block_repeat(self):
    names = _NAMES._replace(regular=('age',))
    features = self.assemble(self.index, names).query.features
    np.testing.assert_array_equal(features['age'][0], [21.0, 21.0])

  def test_is_of_the_declared_types(self):
    episode = self.assemble(self.index)
    self.assertIsInstance(episode.support, types.Examples)
    self.assertEqual(episode.support.mask.dtype, np.float32)


if __name__ == '__main__':
  absltest.main()
