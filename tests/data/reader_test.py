import collections

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import numpy as np

from limaml_jax import config as config_lib
from limaml_jax import overrides
from limaml_jax.data import episodes
from limaml_jax.data import reader
from tests import synthetic

_NAMES = episodes.FeatureNames(
    meta=('user_id', 'age'), regular=('item_id', 'colors')
)


def make_config(**settings):
  return overrides.override(
      config_lib.Config(),
      {
          'episodes.tasks_per_step': 7,
          'episodes.support_buckets': (2, 6),
          'episodes.query_buckets': (3, 5),
          'episodes.support_dropout': 0.0,
          'outer_loop.num_epochs': 2,
      }
      | {name.replace('__', '.'): value for name, value in settings.items()},
  )


def make_reader(**settings):
  table, info = synthetic.make_tasks()
  return reader.make_reader(
      table, info, names=_NAMES, config=make_config(**settings)
  )


def make_index(**settings):
  table, info = synthetic.make_tasks()
  return episodes.plan(table, info, make_config(**settings).episodes)


def support_size(meta_batch):
  return meta_batch.episodes.support.mask.sum(axis=1)


class BatchPlanTest(parameterized.TestCase):

  def test_every_episode_occurs_once_an_epoch(self):
    _, plan = make_reader()
    for epoch in range(2):
      first = epoch * plan.steps_per_epoch
      batches = [plan[first + n][1] for n in range(plan.steps_per_epoch)]
      members = np.sort(np.concatenate(batches))
      np.testing.assert_array_equal(
          members[members >= 0], np.arange(make_index().entity.size)
      )

  def test_padding_fills_a_batch_once_a_bucket(self):
    _, plan = make_reader()
    incomplete = collections.Counter(
        plan[n][0] for n in range(plan.steps_per_epoch) if -1 in plan[n][1]
    )
    self.assertNotEmpty(incomplete)
    self.assertEqual(max(incomplete.values()), 1)

  def test_bucket_is_the_smallest_that_holds_its_episodes(self):
    _, plan = make_reader()
    index = make_index()
    for n in range(len(plan)):
      (num_support, num_query), identity, _ = plan[n]
      chosen = index.take(identity[identity >= 0])
      support = chosen.support_stop - chosen.support_start
      query = chosen.query_stop - chosen.query_start
      self.assertEqual({2 if s <= 2 else 6 for s in support}, {num_support})
      self.assertEqual({3 if q <= 3 else 5 for q in query}, {num_query})

  def test_epochs_differ_in_order(self):
    _, plan = make_reader()
    epochs = [
        np.concatenate(
            [plan[epoch * plan.steps_per_epoch + n][1]
             for n in range(plan.steps_per_epoch)]
        )
        for epoch in range(2)
    ]
    self.assertFalse(np.array_equal(*epochs))


class ReaderTest(parameterized.TestCase):

  def test_same_seed_gives_the_same_batches(self):
    first, _ = make_reader(episodes__support_dropout=0.5)
    second, _ = make_reader(episodes__support_dropout=0.5)
    for n in range(len(first)):
      chex.assert_trees_all_equal(first[n], second[n])

  def test_another_seed_gives_another_order(self):
    first, _ = make_reader()
    second, _ = make_reader(training__seed=1)
    orders = [
        np.concatenate([steps[n].identity for n in range(len(steps))])
        for steps in (first, second)
    ]
    self.assertFalse(np.array_equal(*orders))

  def test_dropout_differs_between_epochs(self):
    steps, plan = make_reader(
        episodes__support_dropout=1.0, episodes__tasks_per_step=1
    )
    sizes = [{}, {}]
    for n in range(len(steps)):
      sizes[n // plan.steps_per_epoch][int(steps[n].identity[0])] = float(
          support_size(steps[n])[0]
      )
    self.assertEqual(sizes[0].keys(), sizes[1].keys())
    self.assertNotEqual(sizes[0], sizes[1])

  def test_restored_position_gives_the_same_next_batches(self):
    steps, _ = make_reader(episodes__support_dropout=0.5)
    original = reader.iterate(steps)
    for _ in range(3):
      next(original)
    position = original.get_state()
    expected = [next(original) for _ in range(4)]
    original.close()
    steps, _ = make_reader(episodes__support_dropout=0.5)
    resumed = reader.iterate(steps)
    resumed.set_state(position)
    for meta_batch in expected:
      chex.assert_trees_all_equal(next(resumed), meta_batch)
    resumed.close()

  def test_iterator_ends_with_the_last_epoch(self):
    steps, plan = make_reader()
    iterator = reader.iterate(steps)
    self.assertLen(list(iterator), 2 * plan.steps_per_epoch)
    iterator.close()


class MetaBatchTest(parameterized.TestCase):

  def batches(self, **settings):
    steps, plan = make_reader(**settings)
    return [steps[n] for n in range(plan.steps_per_epoch)]

  @parameterized.parameters('task', 'row')
  def test_padding_task_has_no_weight_and_no_row(self, weighting):
    num_padding = 0
    for meta_batch in self.batches(episodes__task_weighting=weighting):
      padding = meta_batch.identity < 0
      num_padding += padding.sum()
      episode = meta_batch.episodes
      np.testing.assert_array_equal(episode.weight[padding], 0)
      np.testing.assert_array_equal(episode.support.mask[padding], 0)
      np.testing.assert_array_equal(episode.query.mask[padding], 0)
    self.assertGreater(num_padding, 0)

  def test_weight_by_task_is_one(self):
    for meta_batch in self.batches(episodes__task_weighting='task'):
      real = meta_batch.identity >= 0
      np.testing.assert_array_equal(meta_batch.episodes.weight[real], 1)

  @parameterized.named_parameters(
      # Whatever all events weigh, the mean task weighs 1.
      ('twofold', 2.0), ('tiny', 0.01),
  )
  def test_weight_by_row_does_not_depend_on_the_scale(self, scale):
    table, info = synthetic.make_tasks()
    table = table._replace(weights=table.weights * np.float32(scale))
    config = make_config(episodes__task_weighting='row')
    scaled, _ = reader.make_reader(table, info, names=_NAMES, config=config)
    plain, _ = make_reader(episodes__task_weighting='row')
    for n in range(5):
      np.testing.assert_allclose(
          scaled[n].episodes.weight, plain[n].episodes.weight, rtol=1e-5
      )

  def test_weight_by_row_counts_a_query_row_by_its_weight(self):
    table, info = synthetic.make_tasks()
    rng = np.random.default_rng(0)
    weights = rng.integers(1, 9, table.labels.size).astype(np.float32)
    steps, plan = reader.make_reader(
        table._replace(weights=weights),
        info,
        names=_NAMES,
        config=make_config(episodes__task_weighting='row'),
    )
    found, expected = [], []
    for n in range(plan.steps_per_epoch):
      real = steps[n].identity >= 0
      found.append(steps[n].episodes.weight[real])
      expected.append(steps[n].episodes.query.mask[real].sum(axis=1))
    found, expected = np.concatenate(found), np.concatenate(expected)
    np.testing.assert_allclose(found, expected / expected.mean(), rtol=1e-6)

  def test_weight_by_row_is_in_proportion_to_the_query(self):
    rows, weights = [], []
    for meta_batch in self.batches(episodes__task_weighting='row'):
      real = meta_batch.identity >= 0
      rows.append(meta_batch.episodes.query.mask[real].sum(axis=1))
      weights.append(meta_batch.episodes.weight[real])
    rows, weights = np.concatenate(rows), np.concatenate(weights)
    np.testing.assert_allclose(weights, rows / rows.mean(), rtol=1e-6)

  def test_rows_are_those_of_the_plan(self):
    table, _ = synthetic.make_tasks()
    index = make_index()
    for meta_batch in self.batches():
      for task, n in enumerate(meta_batch.identity):
        if n < 0:
          continue
        query = meta_batch.episodes.query
        expected = table.event_features['item_id'][
            index.query_start[n] : index.query_stop[n]
        ]
        found = query.features['item_id'][task][query.mask[task] > 0]
        np.testing.assert_array_equal(found, expected)


  def test_support_rows_weigh_less_by_their_age(self):
    steps, _ = make_reader(
        episodes__support_dropout=0.5, episodes__support_half_life_events=1.0
    )
    largest = 0
    for n in range(len(steps)):
      for mask in steps[n].episodes.support.mask:
        size = np.sum(mask > 0)
        expected = 0.5 ** np.arange(size)[::-1]
        np.testing.assert_allclose(mask[:size], expected, rtol=1e-6)
        largest = max(largest, size)
    self.assertEqual(largest, 6)


class NoInnerLoopTest(parameterized.TestCase):

  def test_support_is_left_out(self):
    steps, _ = make_reader(inner_loop__num_steps=0)
    for n in range(len(steps)):
      support = steps[n].episodes.support
      np.testing.assert_array_equal(support.mask, np.zeros((7, 1)))

  def test_queries_are_those_of_meta_training(self):
    joint, _ = make_reader(inner_loop__num_steps=0)
    meta, _ = make_reader()
    for n in range(len(meta)):
      chex.assert_trees_all_equal(
          joint[n].episodes.query, meta[n].episodes.query
      )

  def test_id_is_forgotten_as_in_meta_training(self):
    joint, _ = make_reader(
        inner_loop__num_steps=0, episodes__support_dropout=1.0
    )
    meta, _ = make_reader(episodes__support_dropout=1.0)
    for n in range(len(meta)):
      joint_ids, meta_ids = (
          steps[n].episodes.query.meta_features['user']['user_id']
          for steps in (joint, meta)
      )
      np.testing.assert_array_equal(joint_ids, meta_ids)

  def test_support_stays_where_inputs_vary(self):
    table, info = synthetic.make_tasks()
    steps, _ = reader.make_reader(
        table,
        info,
        names=_NAMES._replace(meta=('age', 'colors')),
        config=make_config(inner_loop__num_steps=0),
    )
    self.assertGreater(support_size(steps[0]).sum(), 0)

  @parameterized.parameters('deep_sets', 'transformer')
  def test_support_stays_where_a_history_is_read(self, kind):
    steps, _ = make_reader(
        inner_loop__num_steps=0, model__meta_block__kind=kind
    )
    self.assertGreater(support_size(steps[0]).sum(), 0)


class SupportDropoutTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.table, _ = synthetic.make_tasks()
    cls.index = make_index()
    steps, plan = make_reader(episodes__support_dropout=1.0)
    cls.episodes = []
    for n in range(plan.steps_per_epoch):
      meta_batch = steps[n]
      for task, identity in enumerate(meta_batch.identity):
        if identity >= 0:
          take = lambda x, task=task: x[task]
          cls.episodes.append(
              (identity, jax.tree.map(take, meta_batch.episodes))
          )

  def available(self, identity):
    start = self.index.support_start[identity]
    return np.arange(start, self.index.support_stop[identity])

  def test_keeps_the_latest_rows(self):
    num_partial = 0
    for identity, episode in self.episodes:
      kept = int(episode.support.mask.sum())
      available = self.available(identity)
      num_partial += 0 < kept < available.size
      expected = available[available.size - kept :]
      np.testing.assert_array_equal(
          episode.support.features['item_id'][:kept],
          self.table.event_features['item_id'][expected],
      )
    self.assertGreater(num_partial, 10)

  def test_sometimes_keeps_none_and_then_forgets_the_id(self):
    num_forgotten = 0
    for identity, episode in self.episodes:
      if self.available(identity).size and not episode.support.mask.any():
        num_forgotten += 1
        for examples in (episode.support, episode.query):
          self.assertEqual(examples.meta_features['user']['user_id'], 0)
    self.assertGreater(num_forgotten, 5)

  def test_remembers_the_id_otherwise(self):
    for identity, episode in self.episodes:
      if episode.support.mask.any() or not self.available(identity).size:
        entity = self.index.entity[identity]
        expected = self.table.entity_features['user_id'][entity]
        for examples in (episode.support, episode.query):
          found = examples.meta_features['user']['user_id']
          np.testing.assert_array_equal(found, expected)

  def test_leaves_the_table_as_it_was(self):
    table, info = synthetic.make_tasks()
    before = table.entity_features['user_id'].copy()
    steps, _ = reader.make_reader(
        table,
        info,
        names=_NAMES,
        config=make_config(episodes__support_dropout=1.0),
    )
    for n in range(len(steps)):
      steps[n]
    np.testing.assert_array_equal(table.entity_features['user_id'], before)

  def test_happens_as_often_as_asked(self):
    steps, _ = make_reader(
        episodes__support_dropout=0.3, outer_loop__num_epochs=20
    )
    self.assert_drops(steps, range(len(steps)), 0.3)

  def test_moves_to_its_end_over_training(self):
    steps, _ = make_reader(
        episodes__support_dropout=0.0,
        episodes__support_dropout_end=0.8,
        outer_loop__num_epochs=40,
    )
    middle = len(steps) // 2
    # The means over the halves.
    self.assert_drops(steps, range(middle), 0.2)
    self.assert_drops(steps, range(middle, len(steps)), 0.6)

  @parameterized.parameters(
      (0.4, -1.0, 0.3, 0.4),
      (0.4, 0.0, 0.0, 0.4),
      (0.4, 0.0, 0.25, 0.3),
      (0.4, 0.0, 1.0, 0.0),
      (0.1, 0.5, 0.5, 0.3),
  )
  def test_probability_is_linear_in_progress(self, start, end, at, expected):
    config = config_lib.EpisodeConfig(
        support_dropout=start, support_dropout_end=end
    )
    found = reader.dropout_probability(config, at)
    self.assertAlmostEqual(found, expected)

  def test_progress_runs_from_0_to_1(self):
    _, plan = make_reader()
    found = [plan[n][2] for n in range(len(plan))]
    np.testing.assert_allclose(found, np.linspace(0, 1, len(plan)))

  def assert_drops(self, steps, numbers, probability):
    chances, dropped = 0, 0
    for n in numbers:
      identity = steps[n].identity
      real = identity >= 0
      sizes = support_size(steps[n])[real]
      available = (self.index.support_stop - self.index.support_start)[
          identity[real]
      ]
      chosen = available == 6
      chances += chosen.sum()
      dropped += (sizes[chosen] < 6).sum()
    # 6 in 7 of those that draw a new size lose some of 6 rows.
    self.assertGreater(chances, 500)
    self.assertAlmostEqual(dropped / chances, probability * 6 / 7, delta=0.05)


if __name__ == '__main__':
  absltest.main()
