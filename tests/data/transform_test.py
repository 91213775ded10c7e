import random

from absl.testing import absltest
from absl.testing import parameterized
import duckdb
import numpy as np
import small_log

from limaml_jax import cells
from limaml_jax.data import dataset
from limaml_jax.data.tasks import items
from limaml_jax.data.tasks import task_table


class TransformTest(parameterized.TestCase):
  """On the small log: ann trains on events 0 to 7, bob on 0 to 3, cat not."""

  def setUp(self):
    super().setUp()
    self.log = small_log.SmallLog(self.create_tempdir().full_path)

  def prepare(self, **settings):
    info = self.log.prepare(**settings)
    self.vocabularies = dataset.load_vocabularies(self.log.output)
    self.specs = {spec.name: spec for spec in info.features}
    self.info = info
    return task_table.load(self.log.output)

  def test_orders_events_by_entity_and_time(self):
    self.log.write_events(reversed(small_log.EVENTS))
    table = self.prepare()
    self.assertEqual(table.entity_keys.tolist(), ['ann', 'bob', 'cat'])
    self.assertEqual(table.offsets.tolist(), [0, 10, 15, 16])
    self.assertEqual(table.num_train.tolist(), [8, 4, 0])
    self.assertEqual(table.num_history.tolist(), [8, 4, 0])
    start = small_log.START
    self.assertEqual(
        table.timestamps.tolist(),
        [start + 100 * n for n in range(10)]
        + [start + 50 + 100 * n for n in range(5)] + [start + 7],
    )
    # Ratings 1 to 5 twice; 5, 4, 5, 4, 5; 4.
    self.assertEqual(
        table.labels.tolist(), [0, 0, 0, 1, 1] * 2 + [1] * 5 + [1]
    )

  def test_counts(self):
    self.prepare()
    self.assertEqual(self.info.num_interactions, 16)
    self.assertEqual(self.info.num_train, 12)
    # Two of ann's eight (1 to 5, 1 to 3) are 4 or more, and all of bob's four.
    self.assertAlmostEqual(self.info.label_mean, 6 / 12)
    self.assertEqual(self.info.test_end, small_log.START + 901)

  def test_entity_without_training_events_is_out_of_vocabulary(self):
    table = self.prepare()
    self.assertEqual(self.vocabularies['user'], ['ann', 'bob'])
    self.assertEqual(table.entity_features['user'].tolist(), [1, 2, 0])

  def test_entity_without_kept_events_is_gone(self):
    table = self.prepare(
        split='by_time',
        train_end='2001-09-09T01:46:43+00:00',  # Three seconds in.
        test_end='2001-09-09T01:46:48+00:00',
    )
    # Ann's first event trains and cat's is tested; bob comes too late.
    self.assertEqual(table.entity_keys.tolist(), ['ann', 'cat'])
    self.assertEqual(table.num_train.tolist(), [1, 0])
    self.assertEqual(table.entity_features['user'].tolist(), [1, 0])
    self.assertEqual(self.vocabularies['movie'], ['m0'])

  def test_newcomer_is_out_of_vocabulary(self):
    self.log.write_events([
        f'u{n:03d},m{e},{e},0,{small_log.START + e},tv'
        for n in range(60) for e in range(8)
    ])
    self.log.write('users.csv', [small_log.USERS[0], 'u000,1,Rome'])
    table = self.prepare(new_entity_fraction=0.5)
    newcomer = table.num_train == 0
    self.assertGreater(newcomer.sum(), 10)
    self.assertGreater(table.num_history[newcomer].sum(), 0)
    indices = table.entity_features['user']
    self.assertEqual(set(indices[newcomer]), {0})
    self.assertCountEqual(indices[~newcomer], range(1, 61 - newcomer.sum()))

  def test_vocabulary_is_of_training_rows_by_count_then_name(self):
    table = self.prepare()
    # Training rows: m0 2 + 2, m1 2 + 1, m2 2 + 1, m3 2; m9 is only tested.
    self.assertEqual(self.vocabularies['movie'], ['m0', 'm1', 'm2', 'm3'])
    self.assertEqual(
        table.event_features['movie'].tolist(),
        [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 1, 2, 3, 1, 2, 0],
    )
    # 'car' occurs in ann's two test events alone.
    self.assertEqual(self.vocabularies['device'], ['tv'])
    self.assertEqual(
        table.event_features['device'].tolist(), [1] * 8 + [0] * 2 + [1] * 6
    )

  def test_entity_owned_vocabulary_counts_training_entities(self):
    table = self.prepare()
    # zoe is not in the log; cat is not in the side table.
    self.assertEqual(self.vocabularies['city'], ['Oslo', 'Rome'])
    self.assertEqual(table.entity_features['city'].tolist(), [2, 1, 0])

  def test_rare_tokens_share_the_first_row(self):
    table = self.prepare(min_count=3)
    self.assertEqual(self.vocabularies['movie'], ['m0', 'm1', 'm2'])
    self.assertEqual(self.vocabularies['city'], [])
    self.assertEqual(table.entity_features['city'].tolist(), [0, 0, 0])
    # The entity's own ID is exempt.
    self.assertEqual(self.vocabularies['user'], ['ann', 'bob'])
    self.assertEqual(self.specs['movie'].num_rows, 4)

  def test_multi_hot_is_distinct_truncated_and_padded(self):
    table = self.prepare()
    # m0 says war, love, (war), then cats beyond the width; m1 love; m3 love,
    # dogs. Rows: love 4 + 3 + 2, war 4, dogs 2 (m7's is in no event).
    self.assertEqual(self.vocabularies['genres'], ['love', 'war', 'dogs'])
    np.testing.assert_array_equal(
        table.event_features['genres'][[0, 1, 2, 3, 15]],
        [[2, 1], [1, -1], [-1, -1], [1, 3], [-1, -1]],
    )
    self.assertEqual(self.specs['genres'].max_values, 2)

  def test_multi_hot_out_of_vocabulary_is_said_once(self):
    self.log.edit_schema('max_values = 2', 'max_values = 3')
    table = self.prepare(min_count=5)
    # m0: war and cats share row 0, love is 1; m3: love, and dogs is rare.
    np.testing.assert_array_equal(
        table.event_features['genres'][[0, 3]], [[0, 1, -1], [1, 0, -1]]
    )

  def test_numeric_statistics_are_of_training_rows(self):
    table = self.prepare()
    # Once per training entity: ann 30, bob 50; cat is unknown, hence the mean.
    self.assertAlmostEqual(self.specs['age'].mean, 40)
    self.assertAlmostEqual(self.specs['age'].std, 10)
    self.assertEqual(table.entity_features['age'].tolist(), [30, 50, 40])
    # Once per training event: m0 99 four times, m1 filled with 100 and m2 9
    # three times each, m3 999 twice; then log1p.
    logs = np.log([100] * 4 + [101] * 3 + [10] * 3 + [1000] * 2)
    self.assertAlmostEqual(self.specs['length'].mean, np.mean(logs))
    self.assertAlmostEqual(self.specs['length'].std, np.std(logs))
    np.testing.assert_allclose(
        table.event_features['length'][[0, 1, 2, 3]],
        np.log([100, 101, 10, 1000]),
        rtol=1e-6,
    )

  def test_logarithm_of_a_column_of_the_log(self):
    self.log.write_events(
        [f'{line},{n}' for n, line in enumerate(small_log.EVENTS)],
        header=f'{small_log.HEADER},position',
    )
    self.log.add_feature(
        name='position', owner='context', kind='numeric', role='global',
        column='position', transform='log1p',
    )
    table = self.prepare()
    # Ann trains on events 0 to 7, bob on 10 to 13.
    logs = np.log1p([*range(8), *range(10, 14)])
    self.assertAlmostEqual(self.specs['position'].mean, np.mean(logs))
    self.assertAlmostEqual(self.specs['position'].std, np.std(logs))
    np.testing.assert_allclose(
        table.event_features['position'], np.log1p(np.arange(16)), rtol=1e-6
    )

  def test_numbers_fall_into_buckets(self):
    self.log.edit_schema(
        'kind = "numeric"\nrole = "meta"',
        'kind = "bucketized"\nboundaries = [20, 30.0]\nrole = "meta"',
    )
    table = self.prepare()
    # Ann is 30, bob 50; cat is in no side table.
    self.assertEqual(table.entity_features['age'].tolist(), [3, 3, 0])
    self.assertEqual(self.specs['age'].boundaries, (20, 30))
    self.assertEqual(self.specs['age'].num_rows, 4)
    self.assertNotIn('age', self.vocabularies)

  @parameterized.named_parameters(
      # Training positions are 0 to 7 and 10 to 13: the thirds begin at 4 and at
      # 10. Were all 16 counted, it would be 5 and 11.
      ('log', 'context', [1] * 4 + [2] * 6 + [3] * 6),
      # Training rows by item: m0 99 four times, m1 empty three times, m2 9
      # three times, m3 999 twice. Of nine, three are below 99, seven below 999.
      ('side_table', 'item', [2, 0, 1, 3] * 2 + [2, 0] + [2, 0, 1, 2, 0, 0]),
  )
  def test_quantiles_are_of_training_rows(self, owner, expected):
    self.log.write_events(
        [f'{line},{n}' for n, line in enumerate(small_log.EVENTS)],
        header=f'{small_log.HEADER},position',
    )
    self.log.add_feature(
        name='bucket', owner=owner, kind='bucketized', role='global',
        column={'context': 'position', 'item': 'length'}[owner], num_buckets=3,
    )
    table = self.prepare()
    self.assertEqual(table.event_features['bucket'].tolist(), expected)
    boundaries = {'context': (4, 10), 'item': (99, 999)}[owner]
    self.assertEqual(self.specs['bucket'].boundaries, boundaries)

  def test_log_borne_bucket_of_an_item_is_the_latest_of_training(self):
    self.log.write_events(
        [f'{line},{n}' for n, line in enumerate(small_log.EVENTS)],
        header=f'{small_log.HEADER},price',
    )
    self.log.add_feature(
        name='price', owner='item', kind='bucketized', role='global',
        column='price', source='log', boundaries=[5, 6, 7],
    )
    self.log.prepare()
    _, features = items.load_items(self.log.output)
    # m0 4, m1 5, m2 6, m3 7, and m7 none.
    self.assertEqual(features['price'].tolist(), [1, 2, 3, 4, 0])

  def test_hashed_tokens_need_no_vocabulary(self):
    self.log.edit_schema(
        'column = "device"', 'column = "device"\nhash_buckets = 50'
    )
    self.log.edit_schema(
        'column = "city"', 'column = "city"\nhash_buckets = 70'
    )
    table = self.prepare(min_count=99)
    device = lambda token: cells.hashed_row(token, 50)
    # 'car' is in test events alone, and hashed like any other.
    self.assertEqual(
        table.event_features['device'].tolist(),
        [device('tv')] * 8 + [device('car')] * 2 + [device('tv')] * 6,
    )
    # Cat is in no side table.
    cities = [cells.hashed_row('Rome', 70), cells.hashed_row('Oslo', 70), 0]
    self.assertEqual(table.entity_features['city'].tolist(), cities)
    self.assertEqual(self.specs['device'].num_rows, 51)
    self.assertEqual(self.specs['device'].hash_buckets, 50)
    self.assertNotIn('device', self.vocabularies)

  def test_hashed_lists(self):
    self.log.edit_schema('max_values = 2', 'max_values = 2\nhash_buckets = 90')
    table = self.prepare()
    row = lambda token: cells.hashed_row(token, 90)
    # m0 says war, love, (war), and cats beyond the width; m2 nothing.
    np.testing.assert_array_equal(
        table.event_features['genres'][[0, 1, 2]],
        [[row('war'), row('love')], [row('love'), -1], [-1, -1]],
    )

  def test_hashing_says_how_many_tokens_collide(self):
    self.log.edit_schema(
        'column = "city"', 'column = "city"\nhash_buckets = 4'
    )
    with self.assertLogs(level='INFO') as logs:
      self.prepare()
    # Oslo and Rome: one other token in four buckets.
    self.assertIn(
        "Feature 'city': 2 tokens in 4 hash buckets; about 25.0 % of them",
        '\n'.join(logs.output),
    )

  def test_test_rows_change_nothing_of_what_is_learned(self):
    self.prepare()
    vocabularies, specs = self.vocabularies, self.specs
    changed = [
        line.replace(',m0,', ',m5,').replace(',m1,', ',m6,')
        .replace('car', 'bus') if line.startswith('ann') and index >= 8
        else line for index, line in enumerate(small_log.EVENTS)
    ]
    self.log.write_events(changed)
    self.prepare()
    self.assertEqual(self.vocabularies, vocabularies)
    self.assertEqual(self.specs, specs)

  @parameterized.named_parameters(('one_file', 1), ('three_files', 3))
  def test_order_of_rows_and_files_is_irrelevant(self, num_files):
    ties = [
        # Alike but for the label or the context, which also orders them.
        f'bob,m5,{rating},0,{small_log.START + 10},{device}'
        for rating in (5, 1) for device in ('tv', 'car')
    ]
    self.log.edit_schema('duplicates = "error"', 'duplicates = "keep"')
    lines = [*small_log.EVENTS, *ties]
    self.log.write_events(lines)
    before = self.prepare()
    fingerprint = self.info.fingerprint
    for seed in range(3):
      random.Random(seed).shuffle(lines)
      for index in range(num_files):
        name = f'log{index}.csv' if index else 'log.csv'
        self.log.write_events(lines[index::num_files], name)
      after = self.prepare()
      self.assertEqual(self.info.fingerprint, fingerprint)
      for name, values in before.event_features.items():
        np.testing.assert_array_equal(after.event_features[name], values)

  def test_first_of_duplicates_is_kept(self):
    self.log.edit_schema('duplicates = "error"', 'duplicates = "first"')
    extra = small_log.EVENTS[0].replace(',1,', ',5,')
    self.log.write_events([*small_log.EVENTS, extra])
    table = self.prepare()
    self.assertLen(table.labels, 16)
    self.assertEqual(table.labels[0], 0)

  def test_parquet_and_iso_times_give_the_same_dataset(self):
    self.prepare()
    fingerprint = self.info.fingerprint
    duckdb.sql(
        'COPY (SELECT * REPLACE (to_timestamp(time) AS time) FROM'
        f" read_csv('{self.log.raw}/log.csv')) TO"
        f" '{self.log.raw}/log.parquet' (FORMAT parquet)"
    )
    self.log.edit_schema('files = ["log*.csv"]\nformat = "csv"',
                         'files = ["log.parquet"]\nformat = "parquet"')
    self.log.edit_schema('unit = "s"', 'unit = "iso"')
    self.prepare()
    self.assertEqual(self.info.fingerprint, fingerprint)

  def test_parquet_lists_need_no_separator(self):
    self.prepare()
    fingerprint = self.info.fingerprint
    duckdb.sql(
        "COPY (SELECT * REPLACE (string_split(genres, '|') AS genres) FROM"
        f" read_csv('{self.log.raw}/movies.csv')) TO"
        f" '{self.log.raw}/movies.parquet' (FORMAT parquet)"
    )
    self.log.edit_schema('files = ["movies.csv"]\nformat = "csv"',
                         'files = ["movies.parquet"]\nformat = "parquet"')
    self.log.edit_schema('separator = "|"', 'separator = "o"')
    self.prepare()
    self.assertEqual(self.info.fingerprint, fingerprint)

  def test_milliseconds_are_floored(self):
    self.log.edit_schema('unit = "s"', 'unit = "ms"')
    self.log.write_events([
        f'ann,m{n},4,0,{small_log.START * 1000 + 400 * n},tv' for n in range(10)
    ])
    table = self.prepare()
    self.assertEqual(
        (table.timestamps - small_log.START).tolist(),
        [0, 0, 0, 1, 1, 2, 2, 2, 3, 3],
    )
    # Event 8 is in the same second as no event before it.
    self.assertEqual(table.num_train.tolist(), [8])

  def test_expression_is_a_feature(self):
    self.log.add_feature(
        name='minute', owner='context', kind='categorical', role='both',
        expression='(time - 1000000000) // 60',
    )
    table = self.prepare()
    tokens = ['', *self.vocabularies['minute']]
    # Ann's events 0 to 7 come at 0, 100, ... 700 seconds.
    self.assertEqual(
        [tokens[i] for i in table.event_features['minute'][:8]],
        ['0', '1', '3', '5', '6', '8', '10', '11'],
    )

  def test_features_of_other_entities_are_left_out(self):
    self.log.edit_schema(
        '[entities.user]', '[entities.device]\nkey = "device"\n\n'
        '[entities.user]',
    )
    self.log.edit_schema('name = "device"\n', 'name = "box"\n')
    for name in ('age', 'city'):
      self.log.edit_schema(f'name = "{name}"', f'name = "{name}"\n'
                           'entity = "user"')
    table = self.prepare(task_entity='device')
    self.assertEqual(table.entity_keys.tolist(), ['car', 'tv'])
    self.assertEqual(list(table.entity_features), ['device'])


class ItemsTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.log = small_log.SmallLog(self.create_tempdir().full_path)

  def test_holds_items_of_training_and_of_the_side_table(self):
    self.log.prepare()
    keys, features = items.load_items(self.log.output)
    # m7 is in no event; m9 is in a test event alone.
    self.assertEqual(keys.tolist(), ['m0', 'm1', 'm2', 'm3', 'm7'])
    self.assertEqual(features['movie'].tolist(), [1, 2, 3, 4, 0])
    np.testing.assert_array_equal(
        features['genres'], [[2, 1], [1, -1], [-1, -1], [1, 3], [3, -1]]
    )
    np.testing.assert_allclose(
        features['length'], np.log([100, 101, 10, 1000, 2]), rtol=1e-6
    )

  def test_log_borne_feature_is_the_latest_of_training(self):
    header = f'{small_log.HEADER},price'
    self.log.write_events(
        [f'{line},{index}' for index, line in enumerate(small_log.EVENTS)],
        header=header,
    )
    self.log.add_feature(
        name='price', owner='item', kind='numeric', role='global',
        column='price', source='log',
    )
    self.log.prepare()
    table = task_table.load(self.log.output)
    self.assertEqual(table.event_features['price'].tolist(), list(range(16)))
    _, features = items.load_items(self.log.output)
    # Of training: m0 ann 4 (400 s), bob 13 (350 s); m1 ann 5 (500 s), bob 11;
    # m2 ann 6 (600 s); m3 ann 7; m7 the mean of 0 to 7 and 10 to 13.
    np.testing.assert_allclose(
        features['price'], [4, 5, 6, 7, (28 + 46) / 12], rtol=1e-6
    )


if __name__ == '__main__':
  absltest.main()
