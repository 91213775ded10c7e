"""Point in time: what comes at or after a prediction changes nothing of it.

Random logs, with ties and repeated rows, are prepared twice: as they are, and
with everything at or after a prediction deleted, altered, or added to. What is
learned from and served before it must stay as it was.
"""

import dataclasses

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import numpy as np
import random_logs
import small_log

from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax.data import dataset
from limaml_jax.data import episodes
from limaml_jax.data.tasks import items
from limaml_jax.data.tasks import task_table
from limaml_jax.evaluation import replay

_EXTRA_FEATURES = (
    {'name': 'price', 'owner': 'context', 'kind': 'numeric'},
    {'name': 'shelf', 'owner': 'item', 'kind': 'categorical', 'source': 'log'},
    {'name': 'weight', 'owner': 'item', 'kind': 'numeric', 'source': 'log'},
)
# Of other entities' events, which in time alone are the past.
_PAST_FEATURES = (
    {'name': 'rate', 'kind': 'past_rate', 'of': ['movie']},
    {'name': 'seen', 'kind': 'past_count', 'of': ['shelf', 'genres']},
    {'name': 'late', 'kind': 'past_rate', 'of': ['movie'],
     'window_hours': 0.5},
    {'name': 'since', 'kind': 'past_age', 'of': ['user']},
)  # fmt: skip
_NAMES = episodes.FeatureNames(
    meta=('user', 'age', 'movie', 'price'),
    regular=('movie', 'genres', 'length', 'device', 'price', 'shelf', 'weight'),
)
_CAP = 4


@dataclasses.dataclass(frozen=True)
class World:
  """A prepared dataset, read back."""

  info: dataset.DatasetInfo
  table: dataset.TaskTable
  vocabularies: dict[str, list[str]]
  items: tuple


def names_of(table):
  """Returns the features of a dataset, past ones included where it has them."""
  past = [feature['name'] for feature in _PAST_FEATURES]
  found = [name for name in past if name in table.event_features]
  return _NAMES._replace(
      meta=(*_NAMES.meta, *found), regular=(*_NAMES.regular, *found)
  )


class PointInTimeTestCase(parameterized.TestCase):
  """Prepares logs, and compares what is learned and served of them."""

  past_features = ()

  def prepare(self, events, **protocol):
    """Prepares a log, or rejects the example if it cannot be split."""
    log = small_log.SmallLog(self.create_tempdir().full_path)
    log.edit_schema('duplicates = "error"', 'duplicates = "keep"')
    for feature in _EXTRA_FEATURES:
      log.add_feature(role='global', column=feature['name'], **feature)
    for feature in self.past_features:
      log.add_feature(role='both', **feature)
    lines = [event.line() for event in events]
    log.write_events(lines, header=random_logs.HEADER)
    users = [f'{user},3{len(user)},Rome' for user in random_logs.ENTITIES]
    log.write('users.csv', ['id,age,city', *users])
    try:
      info = log.prepare(**protocol)
    except errors.InputError as error:
      hypothesis.assume('no event is left to train on' not in str(error))
      hypothesis.assume('none of the' not in str(error))
      raise
    return World(
        info=info,
        table=task_table.load(log.output),
        vocabularies=dataset.load_vocabularies(log.output),
        items=items.load_items(log.output),
    )

  def assert_learned_alike(self, one, other):
    """Whatever is fitted to training rows is the same."""
    self.assertEqual(other.info.features, one.info.features)
    self.assertEqual(other.info.label_mean, one.info.label_mean)
    self.assertEqual(other.info.num_train, one.info.num_train)
    self.assertEqual(other.vocabularies, one.vocabularies)
    (keys, features), (other_keys, other_features) = one.items, other.items
    np.testing.assert_array_equal(other_keys, keys)
    self.assertEqual(list(other_features), list(features))
    for name, values in features.items():
      np.testing.assert_array_equal(other_features[name], values, name)


def supports(table, cutoffs):
  """Returns what each entity with support has to adapt on, by key.

  Args:
    table: all tasks.
    cutoffs: UTC seconds by entity key; entities without one are left out.
  """
  entities = [n for n, key in enumerate(table.entity_keys) if key in cutoffs]
  index = episodes.make_index(
      table,
      np.asarray(entities, np.int64),
      np.asarray([cutoffs[table.entity_keys[n]] for n in entities], np.int64),
      support_cap=_CAP,
  )
  support = assemble(table, index).support
  sizes, _ = index.sizes()
  found = {}
  for row, entity in enumerate(entities):
    if sizes[row]:
      start, stop = index.support_start[row], index.support_stop[row]
      found[str(table.entity_keys[entity])] = (
          table.timestamps[start:stop].tolist(),
          random_logs.rows_of(support, row),
      )
  return found


def assemble(table, index):
  """Pads episodes to the largest sizes that occur."""
  return episodes.assemble(
      table,
      index,
      names=names_of(table),
      entity_type='user',
      num_support=_CAP,
      num_query=max(1, *index.sizes()[1], 0),
      weights=np.ones(index.entity.size),
  )


def training(world):
  """Returns every training episode, query and support, by key and time."""
  table, info = world.table, world.info
  config = config_lib.EpisodeConfig(support_buckets=(_CAP,), query_buckets=(3,))
  index = episodes.plan(table, info, config)
  batch = assemble(table, index)
  return [
      (
          str(table.entity_keys[entity]),
          table.timestamps[index.query_start[row]],
          random_logs.rows_of(batch.support, row),
          random_logs.rows_of(batch.query, row),
      )
      for row, entity in enumerate(index.entity)
  ]


def served(world, until):
  """Returns the test rows before a time, as replay serves them, by key."""
  rows = replay.test_rows(world.table, world.info)
  times = world.table.timestamps[rows.event]
  features = replay.row_features(
      world.table, rows, names_of(world.table).regular
  )
  found = [
      (
          str(world.table.entity_keys[rows.entity[n]]), times[n], rows.day[n],
          rows.support_size[n], world.table.labels[rows.event[n]],
          [values[n].tolist() for values in features.values()],
      )
      for n in np.flatnonzero(times < until)
  ]
  return sorted(found, key=repr)


class ByTimeTest(PointInTimeTestCase):

  past_features = _PAST_FEATURES

  @random_logs.SETTINGS
  @hypothesis.given(
      random_logs.logs(),
      random_logs.by_time(),
      random_logs.changes(),
      strategies.data(),
  )
  def test_the_future_changes_nothing(self, events, protocol, change, data):
    world = self.prepare(events, **protocol)
    rows = replay.test_rows(world.table, world.info)
    times = world.table.timestamps[rows.event].tolist()
    cutoffs = world.info.cutoffs
    # A prediction may come at a refresh, to the second, and none be logged.
    now = data.draw(strategies.sampled_from(sorted({*times, *cutoffs})))
    altered = []
    for number, event in enumerate(events):
      future = event.second >= now
      altered += change(event, number) if future else [event]
    other = self.prepare(altered, **protocol)
    self.assert_learned_alike(world, other)
    self.assertEqual(training(other), training(world))
    self.assertEqual(served(other, now), served(world, now))
    # What serves a prediction of then, and every refresh before it.
    for cutoff in [cutoff for cutoff in cutoffs if cutoff <= now]:
      known = dict.fromkeys(random_logs.ENTITIES, cutoff)
      self.assertEqual(
          supports(other.table, known), supports(world.table, known)
      )


class WithinEntityTest(PointInTimeTestCase):

  @random_logs.SETTINGS
  @hypothesis.given(
      random_logs.logs(),
      random_logs.within_entity,
      strategies.sampled_from([0, 1, 7]),
  )
  def test_what_comes_after_an_entitys_cutoff_changes_nothing(
      self, events, protocol, later
  ):
    world = self.prepare(events, **protocol)
    cutoffs = dict(
        zip(world.table.entity_keys, replay.entity_cutoffs(world.table),
            strict=True)
    )
    altered = [
        random_logs.alter(event, later)
        if event.second >= cutoffs.get(event.user, random_logs.START) else event
        for event in events
    ]
    other = self.prepare(altered, **protocol)
    self.assert_learned_alike(world, other)
    self.assertEqual(training(other), training(world))
    self.assertEqual(
        supports(other.table, cutoffs), supports(world.table, cutoffs)
    )

  @random_logs.SETTINGS
  @hypothesis.given(random_logs.logs(), random_logs.within_entity)
  def test_nothing_is_learned_from_those_who_do_not_train(
      self, events, protocol
  ):
    world = self.prepare(events, **protocol)
    trained = set(world.table.entity_keys[world.table.num_train > 0])
    altered = [
        event if event.user in trained else random_logs.alter(event, 0)
        for event in events
    ]
    hypothesis.assume(altered != events)
    self.assert_learned_alike(world, self.prepare(altered, **protocol))


if __name__ == '__main__':
  absltest.main()
