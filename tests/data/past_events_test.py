import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import random_logs
import small_log

from limaml_jax import errors
from limaml_jax.data import dataset
from limaml_jax.data.engines import start
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.tasks import past_events
from limaml_jax.data.tasks import task_table

_HOUR = 3600 * 1000000
# Logs of the search by hand; LIMAML_EXAMPLES=200 tries more.
_NUM_EXAMPLES = max(20, random_logs.SETTINGS.max_examples)
# Kind, keys, rows of the prior, hours of the window.
_FEATURES = {
    'rate': ('past_rate', ('item',), 2.0, None),
    'crossed_rate': ('past_rate', ('entity', 'feature.tab'), 0.1, None),
    'bare_rate': ('past_rate', ('feature.tab',), 0.0, None),
    'count': ('past_count', ('item', 'feature.tab'), None, None),
    'recent_rate': ('past_rate', ('item',), 2.0, 1.0),
    'bare_recent_rate': ('past_rate', ('entity',), 0.0, 2.0),
    'recent_count': ('past_count', ('feature.tab',), None, 1.0),
    'newest_count': ('past_count', ('item',), None, 1 / 3.6e9),
    'same_count': ('past_count', ('item',), None, 1 / 3.6e9),
    'age': ('past_age', ('item',), None, None),
    'crossed_age': ('past_age', ('entity', 'feature.tab'), None, None),
}


def make_past():
  return [
      past_events.Past(
          schema_lib.Feature(
              name=name, owner='context', kind=kind, role='global',
              of=keys, prior_rows=prior_rows, window_hours=hours,
          ),
          keys,
      )
      for name, (kind, keys, prior_rows, hours) in _FEATURES.items()
  ]  # fmt: skip


# Few times, so many ties, in three hours of which one has no events; some are
# as far apart as windows are long.
_events = strategies.fixed_dictionaries({
    'entity': strategies.sampled_from(['ann', 'bob']),
    'time': strategies.builds(
        lambda hour, part: 10**15 + hour * _HOUR + part,
        strategies.sampled_from([0, 1, 3]),
        strategies.integers(0, 2),
    ),
    'item': strategies.sampled_from(['x', 'y']),
    'label': strategies.integers(0, 1),
    'feature.tab': strategies.sampled_from(['1', '2', '', None]),
})
_logs = strategies.lists(_events, min_size=1, max_size=40)


def by_hand(events, event, kind, keys, prior_rows, hours):
  """Returns a past feature by a search of what is earlier."""
  earlier = [other for other in events if other['time'] < event['time']]
  ones = lambda rows: sum(row['label'] for row in rows)
  prior = ones(earlier) / len(earlier) if earlier else None
  since = event['time'] - round(hours * _HOUR) if hours else 0
  alike = [
      other
      for other in earlier
      if other['time'] >= since
      and all(event[key] and other[key] == event[key] for key in keys)
  ]
  if kind == 'past_count':
    return float(len(alike))
  if kind == 'past_age':
    latest = max((other['time'] for other in alike), default=None)
    return latest and (event['time'] - latest) / _HOUR
  if not alike:
    return prior
  weight = prior_rows or 0.0
  return (ones(alike) + weight * prior) / (len(alike) + weight)


def expected_of(events):
  return in_order([
      event
      | {
          f'feature.{name}': by_hand(events, event, *settings)
          for name, settings in _FEATURES.items()
      }
      for event in events
  ])


def in_order(rows):
  return sorted(rows, key=lambda row: repr(sorted(row.items())))


def add(engine, events, directory):
  path = pathlib.Path(directory) / 'events.parquet'
  rows = pa.Table.from_pylist(
      events,
      pa.schema({
          'entity': pa.string(), 'time': pa.int64(), 'item': pa.string(),
          'label': pa.float32(), 'feature.tab': pa.string(),
      }),
  )  # fmt: skip
  pq.write_table(rows, path)
  rows = engine.read([path])
  found = past_events.add(rows, make_past(), keep=rows.columns)
  return in_order(found.to_pyarrow().to_pylist())


class AddTest(parameterized.TestCase):

  def test_agrees_with_a_search_by_hand(self):
    scratch = self.create_tempdir().full_path
    with start.connect('duckdb', scratch) as engine:

      @hypothesis.settings(random_logs.SETTINGS, max_examples=_NUM_EXAMPLES)
      @hypothesis.given(_logs)
      def check(events):
        self.assertEqual(add(engine, events, scratch), expected_of(events))

      check()


RATE = {'name': 'rate', 'kind': 'past_rate', 'role': 'global'}
COUNT = {'name': 'count', 'kind': 'past_count', 'role': 'global'}
AGE = {'name': 'since', 'kind': 'past_age', 'role': 'global'}


class PreparedTest(parameterized.TestCase):
  """Past features of a dataset."""

  def setUp(self):
    super().setUp()
    self.log = small_log.SmallLog(self.create_tempdir().full_path)

  def values(self, name='rate', **protocol):
    """Prepares; returns values by entity and seconds after the start."""
    self.log.prepare(**protocol)
    table = task_table.load(self.log.output)
    entities = np.repeat(table.entity_keys, np.diff(table.offsets)).tolist()
    times = (table.timestamps - small_log.START).tolist()
    values = table.event_features[name].tolist()
    return dict(zip(zip(entities, times, strict=True), values, strict=True))

  def rate(self, label, more):
    """Writes the log with another label of ann's event at 300, and more."""
    lines = [
        line.replace(f'ann,m3,4,3,{small_log.START + 300}',
                     f'ann,m3,{4 * label},3,{small_log.START + 300}')
        for line in small_log.EVENTS
    ]  # fmt: skip
    self.log.write_events([*lines, *more])

  def test_of_an_item(self):
    self.log.add_feature(**COUNT, of=['movie'])
    found = self.values('count', test_fraction=0)
    # m0: ann at 0, bob at 50, bob at 350, ann at 400, ann at 800.
    self.assertEqual(
        [found['ann', t] for t in (0, 400, 800)]
        + [found['bob', t] for t in (50, 350)],
        np.log1p(np.float32([0, 3, 4, 1, 2])).tolist(),
    )

  def test_of_a_side_table_and_a_column_that_is_no_feature(self):
    self.log.write_events(
        [f'{line},{n % 2}' for n, line in enumerate(small_log.EVENTS)],
        header=small_log.HEADER + ',odd',
    )
    self.log.add_feature(**COUNT, of=['genres', 'odd'])
    self.log.add_feature(**RATE, of=['city'], prior_rows=1)
    found = self.values('count', test_fraction=0)
    # m1, love, at 100, 500 and 900 of ann and at 150 and 450 of bob: odd, odd,
    # odd; the 12th line, odd, and the 15th, even. m2 has no genres.
    self.assertEqual(
        [found[user, t] for user, t in
         (('ann', 100), ('ann', 500), ('ann', 900), ('ann', 200))],
        np.log1p(np.float32([0, 2, 3, 0])).tolist(),
    )  # fmt: skip
    rate = self.values('rate', test_fraction=0)
    # Cat is in no side table: at 7 there is ann's event at 0, of label 0.
    self.assertEqual(rate['cat', 7], 0)
    # Bob's at 150, after his at 50, of label 1; the prior is that of ann's 0
    # and 0, cat's 1 and bob's 1.
    self.assertEqual(rate['bob', 150], np.float32((1 + 0.5) / 2))

  def test_a_late_or_simultaneous_label_changes_nothing(self):
    self.log.add_feature(**RATE, of=['device'], prior_rows=1)
    same = f'dan,m3,5,0,{small_log.START + 300},tv'
    self.rate(1, more=[same])
    one = self.values(test_fraction=0)
    self.rate(0, more=[same])
    other = self.values(test_fraction=0)
    # At 0 there is no past: the mean of training rows, which do change.
    changed = {key[1] for key in one if one[key] != other[key] and key[1]}
    self.assertEqual(min(changed), 350)
    self.assertIn(400, changed)
    self.assertEqual(one['dan', 300], one['ann', 300])

  def test_added_files_give_what_all_give(self):
    self.log.add_feature(**RATE, of=['movie'])
    self.log.add_feature(**COUNT, of=['genres'])
    events = small_log.EVENTS
    self.log.write_events(events[:12])
    self.log.prepare()
    self.log.write_events(events[12:], 'log2.csv')
    found = self.log.prepare()
    expected = self.log.prepare(output=self.log.root / 'from_scratch')
    self.assertEqual(found.fingerprint, expected.fingerprint)

  def test_test_events_do_not_exist_in_validation(self):
    self.log.add_feature(**COUNT, of=['device'])
    # The test has ann's last two, bob's last and cat's: at 800, 900, 450 and 7.
    found = self.values('count', test_fraction=0.2, phase='validation')
    self.assertNotIn(('bob', 450), found)
    # On the TV by then: ann's five and bob's four, not his fifth.
    self.assertEqual(found['ann', 500], np.log1p(np.float32(9)))
    found = self.values('count', test_fraction=0.2)
    self.assertEqual(found['ann', 500], np.log1p(np.float32(11)))

  def test_test_events_are_in_no_window_of_validation(self):
    self.log.add_feature(**COUNT, of=['device'], window_hours=100 / 3600)
    self.log.add_feature(**AGE, of=['device'])
    # On the TV in the 100 s before 500: ann at 400, and bob at 450, a test's.
    for number, age, settings in (
        (2, 50, {}), (1, 100, {'phase': 'validation'})
    ):  # fmt: skip
      found = self.values('count', test_fraction=0.2, **settings)
      self.assertEqual(found['ann', 500], np.log1p(np.float32(number)))
      found = self.values('since', test_fraction=0.2, **settings)
      self.assertAlmostEqual(np.expm1(found['ann', 500]), age / 3600, 6)

  def test_are_numbers_of_the_event(self):
    self.log.add_feature(**RATE | {'role': 'both'}, of=['user'])
    self.log.add_feature(**COUNT, of=['user'])
    one = self.log.prepare()
    *_, rate, count = one.features
    self.assertEqual(
        (rate.kind, rate.owner, rate.role, rate.per_event),
        ('numeric', 'context', 'both', False),
    )
    self.assertEqual((count.kind, count.transform), ('numeric', 'log1p'))
    self.assertGreater(rate.std, 0)
    self.log.edit_schema("name = 'count'", "name = 'count'\nprior_rows = 1")
    self.log.edit_schema("kind = 'past_count'", "kind = 'past_rate'")
    other = self.log.prepare(encoding_of=None)
    self.assertNotEqual(one.request, other.request)
    self.assertNotEqual(one.fingerprint, other.fingerprint)

  def test_of_a_window(self):
    self.log.add_feature(**COUNT, of=['movie'], window_hours=350 / 3600)
    found = self.values('count', test_fraction=0)
    # m0: ann at 0, bob at 50, bob at 350, ann at 400, ann at 800. One at the
    # very start of a window, as bob's of 50 at 400, is in it.
    self.assertEqual(
        [found['ann', t] for t in (0, 400, 800)]
        + [found['bob', t] for t in (50, 350)],
        np.log1p(np.float32([0, 2, 0, 1, 2])).tolist(),
    )

  def test_of_an_age(self):
    self.log.add_feature(**AGE, of=['user', 'movie'])
    found = self.values('since', test_fraction=0)
    hours = np.float64([found['ann', t] for t in (400, 800)])
    # Those without a past are the mean, not an age of 0.
    np.testing.assert_allclose(
        np.expm1(hours), [400 / 3600, 400 / 3600], rtol=1e-6
    )
    *_, age = dataset.load_info(self.log.output).features
    self.assertEqual((age.kind, age.transform), ('numeric', 'log1p'))
    self.assertAlmostEqual(found['ann', 0], age.mean)
    self.assertGreater(age.mean, 0)

  def test_in_buckets_beside_a_number(self):
    self.log.add_feature(**COUNT, of=['movie'])
    step = COUNT | {'name': 'step', 'num_buckets': 2}
    self.log.add_feature(**step, of=['movie'])
    self.log.add_feature(**AGE, of=['user', 'movie'], num_buckets=3)
    found = self.values('step', test_fraction=0)
    *_, count, step, age = dataset.load_info(self.log.output).features
    self.assertEqual((count.kind, step.kind), ('numeric', 'bucketized'))
    self.assertLen(step.boundaries, 1)
    numbers = self.values('count', test_fraction=0)
    for event, value in numbers.items():
      is_above = np.expm1(value) >= step.boundaries[0] - 1e-6
      self.assertEqual(found[event], 1 + is_above)
    self.assertEqual(age.kind, 'bucketized')
    self.assertEqual(self.values('since', test_fraction=0)['ann', 0], 0)

  @parameterized.parameters(
      ('of = ["movie"]', 'of = ["movie"]\nwindow_hours = 1'),
      ('of = ["movie"]', 'of = ["movie"]\nnum_buckets = 2'),
  )
  def test_another_form_is_another_dataset(self, old, new):
    self.log.add_feature(**COUNT, of=['movie'])
    one = self.log.prepare()
    self.log.edit_schema(old.replace('"', "'"), new.replace('"', "'"))
    other = self.log.prepare()
    self.assertNotEqual(one.request, other.request)

  def test_another_prior_is_another_dataset(self):
    self.log.add_feature(**RATE, of=['movie'], prior_rows=3)
    one = self.log.prepare()
    self.log.edit_schema('prior_rows = 3', 'prior_rows = 4')
    other = self.log.prepare()
    self.assertNotEqual(one.fingerprint, other.fingerprint)

  def test_an_encoding_is_kept(self):
    self.log.add_feature(**RATE, of=['movie'])
    one = self.log.prepare()
    self.log.write_events(
        [f'ann,m0,5,0,{small_log.START + 5000},tv'], 'log2.csv'
    )
    other = self.log.prepare(encoding_of=self.log.output)
    self.assertEqual(one.encoding, other.encoding)
    self.assertEqual(
        dataset.load_info(self.log.output).features[-1], one.features[-1]
    )

  @parameterized.parameters(
      ({'of': ['watched']}, "of: 'watched' is an outcome of the event"),
      ({'of': ['rating']}, "of: 'rating' is an outcome of the event"),
      ({'of': ['devise']}, "no column 'devise' for .*rate.of.devise"),
      ({'of': ['length']}, "of: 'length' is numeric; name a categorical"),
      ({'of': ['rate']}, "of: 'rate' is made of earlier events itself"),
      ({'of': []}, "of: is empty; name what .* such as 'movie'"),
      ({}, 'of: is empty'),
      ({'of': ['movie'], 'prior_rows': -1}, 'prior_rows: is -1; give 0'),
      ({'of': ['movie'], 'fill': 1}, 'fill: is not for past_rate'),
      ({'of': ['movie'], 'owner': 'item'}, 'owner: is not for past_rate'),
      ({'of': ['movie'], 'column': 'x'}, 'column: is not for past_rate'),
      ({'of': ['movie'], 'kind': 'past_count', 'prior_rows': 1},
       'prior_rows: is for past_rate; remove it'),
      ({'of': ['movie'], 'kind': 'past_age', 'prior_rows': 1},
       'prior_rows: is for past_rate; remove it'),
      ({'of': ['movie'], 'kind': 'past_age', 'window_hours': 1},
       'window_hours: is for past_rate and past_count; remove it'),
      ({'of': ['movie'], 'window_hours': 0},
       'window_hours: is 0; give more than 0'),
      ({'of': ['movie'], 'window_hours': -1.5},
       'window_hours: is -1.5; give more than 0'),
      ({'of': ['movie'], 'window_hours': 1e9},
       'window_hours: is 1e.09; give .* at most 1,000,000'),
      ({'of': ['movie'], 'num_buckets': 1}, 'num_buckets: is 1; give 2'),
      ({'of': ['movie'], 'num_buckets': -1}, 'num_buckets: is -1; give 2'),
      ({'of': ['movie'], 'boundaries': [1.0]},
       'boundaries: is not for past_rate'),
      ({'kind': 'numeric', 'owner': 'context', 'column': 'device',
        'window_hours': 1}, 'of, prior_rows and window_hours are for'),
      ({'of': ['movie'], 'kind': 'numeric', 'owner': 'context',
        'column': 'device'}, 'of, prior_rows and window_hours are for'),
  )  # fmt: skip
  def test_refuses(self, keys, message):
    self.log.add_feature(**RATE | keys)
    with self.assertRaisesRegex(errors.InputError, message):
      self.log.prepare()

  def test_refuses_what_the_label_is_made_of(self):
    self.log.edit_schema('outcomes = ["rating", "watched"]', 'outcomes = []')
    self.log.add_feature(**RATE, of=['rating'])
    with self.assertRaisesRegex(errors.InputError, 'what the label is made of'):
      self.log.prepare()

  def test_refuses_a_feature_of_another_entity(self):
    self.log.edit_schema(
        '[entities.user]',
        '[entities.device]\nkey = "device"\n\n[entities.user]',
    )
    text = self.log.schema.read_text()
    self.log.schema.write_text(
        text.replace('owner = "entity"', 'owner = "entity"\nentity = "user"')
        .replace('name = "device"', 'name = "box"')
    )
    self.log.add_feature(**RATE, of=['city'])
    with self.assertRaisesRegex(
        errors.InputError, "'city' is that of an entity that is not adapted"
    ):
      self.log.prepare(task_entity='device')


if __name__ == '__main__':
  absltest.main()
