"""What training and the refresh read of a table is strictly earlier."""

from absl.testing import absltest
import hypothesis
from hypothesis import strategies
import numpy as np
import random_logs

from limaml_jax import config as config_lib
from limaml_jax.data import dataset
from limaml_jax.data import episodes
from limaml_jax.data import reader
from limaml_jax.refresh import generate

_CAP = 4


@strategies.composite
def tables(draw):
  """Returns a table of random histories in which most events share a time."""
  histories = draw(
      strategies.lists(
          strategies.lists(strategies.integers(0, 9), min_size=1, max_size=12),
          min_size=2, max_size=5,
      )
  )
  histories[0].append(0)  # Something is in the past.
  sizes = np.asarray([len(times) for times in histories])
  num_events = int(sizes.sum())
  return dataset.TaskTable(
      entity_keys=np.asarray([f'u{n}' for n in range(len(histories))]),
      offsets=np.concatenate([[0], np.cumsum(sizes)]),
      num_history=sizes,
      num_train=sizes,
      timestamps=np.concatenate([np.sort(times) for times in histories]),
      labels=(np.arange(num_events) % 2).astype(np.float32),
      targets=(np.arange(num_events) % 2).astype(np.float32),
      weights=np.ones(num_events, np.float32),
      entity_features={'user': np.arange(len(histories), dtype=np.int32)},
      event_features={'movie': 100 + np.arange(num_events, dtype=np.int32)},
  )


def changed_from(table, now):
  """Returns a table whose events at or after a time tell something else."""
  future = table.timestamps >= now
  return table._replace(
      labels=np.where(future, 1 - table.labels, table.labels),
      targets=np.where(future, 1 - table.targets, table.targets),
      event_features={
          name: np.where(future, -7, values).astype(values.dtype)
          for name, values in table.event_features.items()
      },
  )


def cut_at(table, now):
  """Returns a table without the events at or after a time."""
  past = table.timestamps < now
  counts = np.concatenate([[0], np.cumsum(past)])
  return table._replace(
      offsets=counts[table.offsets],
      timestamps=table.timestamps[past],
      labels=table.labels[past],
      targets=table.targets[past],
      weights=table.weights[past],
      event_features={
          name: values[past] for name, values in table.event_features.items()
      },
  )


class TrainingAndRefreshTest(absltest.TestCase):

  @random_logs.SETTINGS
  @hypothesis.given(
      tables(), strategies.sampled_from([0, 3]), strategies.integers(0, 9)
  )
  def test_reader_draws_no_support_from_a_querys_future(
      self, table, refresh_seconds, seed
  ):
    info = make_info(refresh_seconds)
    config = config_lib.Config(
        episodes=config_lib.EpisodeConfig(
            tasks_per_step=2, support_buckets=(_CAP,), query_buckets=(3,)
        ),
        outer_loop=config_lib.OuterLoopConfig(num_epochs=1),
        training=config_lib.TrainingConfig(seed=seed),
    )
    index = episodes.plan(table, info, config.episodes)
    names = episodes.FeatureNames(meta=('user',), regular=('movie',))
    batches = lambda t: list(read(t, info, names, config))
    before = batches(table)
    first = table.timestamps[index.query_start]
    # Where the refreshes are at 5, 8, ... and, by the same steps, at 2 and -1.
    cutoffs = (first - 5) // 3 * 3 + 5 if refresh_seconds else first
    for now in np.unique(cutoffs):
      after = batches(changed_from(table, now))
      self.assertLen(after, len(before))
      for old, new in zip(before, after, strict=True):
        for row, number in enumerate(old.identity):
          if number >= 0 and cutoffs[number] == now:
            self.assertEqual(
                random_logs.rows_of(new.episodes.support, row),
                random_logs.rows_of(old.episodes.support, row),
            )
            labels = [b.episodes.query.labels[row, 0] for b in (old, new)]
            self.assertNotEqual(*labels)

  @random_logs.SETTINGS
  @hypothesis.given(tables(), strategies.integers(1, 10))
  def test_refresh_sees_nothing_from_its_cutoff_on(self, table, cutoff):
    found = [
        embed_all(changed, cutoff)
        for changed in (table, changed_from(table, cutoff),
                        cut_at(table, cutoff))
    ]
    self.assertNotEmpty(found[0])
    self.assertEqual(found[1], found[0])
    self.assertEqual(found[2], found[0])
    self.assertTrue(all(mark < cutoff for _, mark in found[0].values()))


def make_info(refresh_seconds):
  """Returns the facts of a table of `tables`."""
  return dataset.DatasetInfo(
      name='random', entity_type='user', entity_feature='user',
      item_feature='movie', num_interactions=0, num_entities=0, num_train=0,
      label_mean=0.5, protocol='', cutoffs=(5,) if refresh_seconds else (),
      test_end=10, refresh_seconds=refresh_seconds, features=(), request='',
      fingerprint='', encoding='',
  )


def read(table, info, names, config):
  """Yields the meta-batches of an epoch."""
  steps, _ = reader.make_reader(table, info, names=names, config=config)
  for number in range(len(steps)):
    yield steps[number]


def embed_all(table, cutoff):
  """Returns, by entity, the rows that a refresh adapts on, and a watermark."""
  seen = []

  def embed_chunk(params, support):
    del params
    num_rows = len(support.labels)
    seen.extend(random_logs.rows_of(support, row) for row in range(num_rows))
    return np.zeros((num_rows, 1))

  config = config_lib.Config(
      episodes=config_lib.EpisodeConfig(
          support_buckets=(_CAP,), num_support_buckets=1
      ),
      refresh=config_lib.RefreshConfig(entities_per_chunk=1),
  )
  plan = generate.make_plan(table, cutoff, config=config)
  chunks = generate.generate(
      table,
      None,
      plan,
      embed_chunk=embed_chunk,
      names=episodes.FeatureNames(meta=('user',), regular=('movie',)),
      entity_type='user',
      config=config,
  )
  entities = [entity for chunk in chunks for entity in chunk.entities.tolist()]
  marks = plan.watermarks[entities].tolist()
  return {
      entity: (rows, mark)
      for entity, rows, mark in zip(entities, seen, marks, strict=True)
  }


if __name__ == '__main__':
  absltest.main()
