import json
import shutil
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import small_log

from limaml_jax import errors
from limaml_jax import types
from limaml_jax.data import dataset
from limaml_jax.data.tasks import fingerprint
from limaml_jax.data.tasks import items
from limaml_jax.data.tasks import task_builder
from limaml_jax.data.tasks import task_table

_START = small_log.START
_FEATURES = (
    {'name': 'position', 'owner': 'context', 'kind': 'bucketized',
     'role': 'global', 'column': 'watched', 'num_buckets': 3},
    {'name': 'hashed', 'owner': 'context', 'kind': 'categorical',
     'role': 'global', 'column': 'device', 'hash_buckets': 50},
    {'name': 'tier', 'owner': 'item', 'source': 'log', 'kind': 'numeric',
     'role': 'global', 'column': 'watched'},
)  # fmt: skip
# The next day: ann again, and dan, who is new, with what is new: an item, one
# that the side table knows, a device, a city, a genre and greater numbers.
_NEXT_DAY = (
    *(f'ann,m{n % 4},{1 + n % 5},{n + 90},{_START + 86400 + n},bus'
      for n in range(10)),
    *(f'dan,m{n % 2 * 7 + 2},4,{n + 40},{_START + 86400 + n},bus'
      for n in range(2)),
    *(f'dan,m5,4,{n + 40},{_START + 86410 + n},bus' for n in range(9)),
)  # fmt: skip
_NEW_USERS = (*small_log.USERS, 'dan,20,Bern')
_NEW_MOVIES = (*small_log.MOVIES, 'm5,noir|love,500')


class EncodingTest(parameterized.TestCase):
  """A log that grew is encoded as it was, or anew."""

  def setUp(self):
    super().setUp()
    self.log = small_log.SmallLog(self.create_tempdir().full_path)
    self.log.edit_schema('"rating", "watched"', '"rating"')
    for feature in _FEATURES:
      self.log.add_feature(**feature)
    self.before = self.log.prepare()
    self.table = task_table.load(self.log.output)
    self.grown = self.log.root / 'grown'

  def grow(self):
    self.log.write_events(_NEXT_DAY, 'log2.csv')
    self.log.write('users.csv', _NEW_USERS)
    self.log.write('movies.csv', _NEW_MOVIES)

  def prepare_grown(self, **settings):
    self.grow()
    self.info = self.log.prepare(
        output=self.grown, encoding_of=self.log.output, **settings
    )
    return task_table.load(self.grown)

  def test_what_grew_is_encoded_as_it_was(self):
    table = self.prepare_grown()
    self.assertEqual(self.info.encoding, self.before.encoding)
    self.assertEqual(self.info.features, self.before.features)
    self.assertEqual(
        dataset.load_vocabularies(self.grown),
        dataset.load_vocabularies(self.log.output),
    )
    self.assertNotEqual(self.info.fingerprint, self.before.fingerprint)
    # Facts of the log are of the new one: 80 % of 20, 5 and 11 events train.
    self.assertEqual(table.num_train.tolist(), [16, 4, 0, 8])
    self.assertEqual(self.info.num_train, 28)
    trained = np.concatenate([
        table.labels[start:start + num]
        for start, num in zip(table.offsets[:-1], table.num_train, strict=True)
    ])
    self.assertAlmostEqual(self.info.label_mean, trained.mean())

  def test_would_be_another_encoding_if_it_were_fitted(self):
    self.grow()
    found = self.log.prepare(output=self.grown)
    self.assertNotEqual(found.encoding, self.before.encoding)
    # Each kind of feature would mean something else.
    was = {spec.name: spec for spec in self.before.features}
    changed = {spec.name for spec in found.features if spec != was[spec.name]}
    self.assertEqual(
        changed,
        {'user', 'movie', 'age', 'city', 'genres', 'length', 'device',
         'position', 'tier'},
    )  # fmt: skip

  def test_numbers_of_old_events_stay(self):
    table = self.prepare_grown()
    # Ann's ten events come before the ten of the next day.
    old = np.r_[:10, 20:26]
    np.testing.assert_array_equal(
        table.timestamps[old], self.table.timestamps
    )
    self.assertSameElements(table.event_features, self.table.event_features)
    for name, values in self.table.event_features.items():
      np.testing.assert_array_equal(table.event_features[name][old], values)
    for name, values in self.table.entity_features.items():
      np.testing.assert_array_equal(table.entity_features[name][:3], values)

  def test_what_is_new_is_out_of_vocabulary(self):
    table = self.prepare_grown()
    self.assertEqual(table.entity_keys[3], 'dan')
    self.assertEqual(table.entity_features['user'][3], 0)
    self.assertEqual(table.entity_features['city'][3], 0)
    self.assertEqual(table.entity_features['age'][3], 20)
    movies = dataset.load_vocabularies(self.grown)['movie']
    known = movies.index('m2') + 1
    # m2, then m9, which only a test event had, and m5.
    self.assertEqual(
        table.event_features['movie'][26:].tolist(), [known] + [0] * 10
    )
    genres = dataset.load_vocabularies(self.grown)['genres']
    love = genres.index('love') + 1
    self.assertEqual(table.event_features['genres'][-1].tolist(), [0, love])
    new = np.r_[10:20, 26:37]
    np.testing.assert_array_equal(table.event_features['device'][new], 0)
    # The greatest bucket there is, and the row of the hash.
    position = self.before.features[-3]
    self.assertEqual(
        table.event_features['position'][10], position.num_rows - 1
    )
    self.assertNotIn(0, table.event_features['hashed'])

  def test_empty_cells_are_at_the_mean_of_then(self):
    self.log.write_events(['eve,m0,4,1,1000000000,tv'], 'log3.csv')
    table = self.prepare_grown()
    self.assertEqual(table.entity_keys[4], 'eve')
    # Ann is 30 and bob 50; dan, 20, is of tomorrow.
    self.assertEqual(table.entity_features['age'][4], 40)

  def test_lists_items_of_then_and_of_now(self):
    # In the log of then alone, and not in the side table.
    event = f'fay,m8,4,1,{_START},tv'
    self.log.write_events([event, event.replace('m8', 'm6')], 'log0.csv')
    self.log.prepare(test_fraction=0)
    (self.log.raw / 'log0.csv').unlink()
    self.prepare_grown()
    keys, features = items.load_items(self.grown)
    vocabulary = dataset.load_vocabularies(self.grown)['movie']
    self.assertEqual(
        dict(zip(keys.tolist(), features['movie'].tolist(), strict=True)),
        {key: row for row, key in enumerate(vocabulary, 1)}
        | {'m5': 0, 'm7': 0},
    )
    self.assertContainsSubset(['m6', 'm8', 'm9'], vocabulary)

  def test_lists_a_new_item_with_training_events(self):
    table = self.prepare_grown()
    keys, features = items.load_items(self.grown)
    self.assertEqual(
        keys.tolist(), ['m0', 'm1', 'm2', 'm3', 'm5', 'm7', 'm9']
    )
    self.assertEqual(features['movie'][-1], 0)
    # Dan's second event: its `watched` was 41.
    self.assertEqual(features['tier'][-1], 41)
    self.assertEqual(table.event_features['tier'][27], 41)

  def test_min_count_is_that_of_then(self):
    self.prepare_grown(min_count=5)
    self.assertEqual(self.info.encoding, self.before.encoding)

  def test_order_of_features_is_that_of_then(self):
    text = self.log.schema.read_text()
    head, *features = text.split('[[features]]')
    self.log.schema.write_text(
        '[[features]]'.join([head, *(f + '\n' for f in reversed(features))])
    )
    self.prepare_grown()
    self.assertEqual(self.info.features, self.before.features)
    self.assertEqual(self.info.encoding, self.before.encoding)

  def test_in_place(self):
    self.grow()
    for _ in range(2):
      found = self.log.prepare(encoding_of=self.log.output)
      self.assertEqual(found.encoding, self.before.encoding)
      self.assertEqual(found.num_interactions, 37)
    self.assertEqual(dataset.load_info(self.log.output), found)

  def test_in_place_is_as_elsewhere(self):
    self.prepare_grown()
    found = self.log.prepare(encoding_of=self.log.output)
    self.assertEqual(found, self.info)

  def test_in_place_after_a_run_killed_between_the_renames(self):
    self.grow()
    self.log.output.rename(self.log.root / '.output.previous')
    found = self.log.prepare(encoding_of=self.log.output)
    self.assertEqual(found.encoding, self.before.encoding)

  def test_is_part_of_the_request(self):
    self.prepare_grown()
    with mock.patch.object(task_builder, 'write') as write:
      again = self.log.prepare(output=self.grown, encoding_of=self.log.output)
    write.assert_not_called()
    self.assertEqual(again, self.info)
    fitted = self.log.prepare(output=self.grown)
    self.assertNotEqual(fitted.request, self.info.request)
    self.assertNotEqual(fitted.encoding, self.info.encoding)

  @parameterized.parameters(
      ('name = "city"', 'name = "town"', "feature 'city' is missing, but"),
      ('owner = "context"', 'owner = "item"\nsource = "log"',
       "feature 'device': owner is 'item', but 'context' in"),
      ('kind = "categorical"', 'kind = "numeric"',
       "feature 'city': kind is 'numeric', but 'categorical' in"),
      ('role = "meta"', 'role = "both"',
       "feature 'age': role is 'both', but 'meta' in"),
      ('max_values = 2', 'max_values = 3',
       "feature 'genres': max_values is 3, but 2 in"),
      ('transform = "log1p"', '', "feature 'length': transform is '', but"),
      ('hash_buckets = 50', 'hash_buckets = 60',
       "feature 'hashed': hash_buckets is 60, but 50 in"),
      ('num_buckets = 3', 'boundaries = [1, 2]',
       r"feature 'position': boundaries is \(1.0, 2.0\), but "),
      ('key = "user"', 'key = "watched"',
       "entities.user.key is 'watched', but 'user' in"),
      ('item = "movie"', 'item = "watched"',
       "interactions.item is 'watched', but 'movie' in"),
      ('[interactions]', '[[features]]\nname = "more"\nowner = "context"\n'
       'kind = "categorical"\nrole = "global"\ncolumn = "device"\n'
       '[interactions]', "feature 'more' is new, and .*; remove it"),
  )  # fmt: skip
  def test_another_schema_is_refused(self, old, new, message):
    text = self.log.schema.read_text()
    self.assertIn(old, text)
    self.log.schema.write_text(text.replace(old, new, 1))
    with self.assertRaisesRegex(
        errors.InputError,
        f'schema.toml: {message}.*, or prepare without --encoding_of',
    ):
      self.prepare_grown()
    self.assertFalse(self.grown.exists())

  def test_another_entity_type_is_refused(self):
    path = self.log.schema
    path.write_text(path.read_text().replace('entities.user', 'entities.fan'))
    with self.assertRaisesRegex(
        errors.InputError, "data.task_entity is 'fan', but 'user' in"
    ):
      self.prepare_grown(task_entity='fan')

  def test_attributes_that_change_in_time_from_now_on_are_refused(self):
    self.log.edit_schema(
        'files = ["users.csv"]\nformat = "csv"\nkey = "id"',
        'files = ["users.csv"]\nformat = "csv"\nkey = "id"\n'
        'valid_from = "age"',
    )
    with self.assertRaisesRegex(
        errors.InputError, "feature 'age': per_event is True, but False"
    ):
      self.prepare_grown()

  def test_the_same_boundaries_given_are_no_difference(self):
    position = self.before.features[-3]
    self.log.edit_schema(
        'num_buckets = 3', f'boundaries = {list(position.boundaries)}'
    )
    self.prepare_grown()
    self.assertEqual(self.info.encoding, self.before.encoding)

  def test_an_absent_dataset_is_named(self):
    with self.assertRaisesRegex(errors.InputError, 'absent.*not found'):
      self.log.prepare(encoding_of=self.log.root / 'absent')

  def test_two_files_of_a_dataset_are_enough(self):
    kept = self.log.root / 'kept'
    kept.mkdir()
    for name in (dataset.DATASET_FILE, dataset.VOCABULARIES_FILE):
      shutil.copy(self.log.output / name, kept)
    self.grow()
    found = self.log.prepare(encoding_of=kept)
    self.assertEqual(found.encoding, self.before.encoding)

  def test_torn_vocabularies_are_named(self):
    path = self.log.output / dataset.VOCABULARIES_FILE
    found = json.loads(path.read_text())
    del found['city'][0]
    path.write_text(json.dumps(found))
    with self.assertRaisesRegex(errors.InputError, "feature 'city': its voc"):
      self.prepare_grown()


class HashTest(parameterized.TestCase):

  def compute(self, mean=2.0, vocabularies='{"a": ["x"]}', **names):
    specs = [
        types.FeatureSpec('n', 'numeric', 'entity', 'meta', mean=mean),
        types.FeatureSpec('a', 'categorical', 'item', 'global', 2),
    ]
    known = {'entity_type': 'user', 'entity_feature': 'a', 'item_feature': 'b'}
    return fingerprint.of_encoding(specs, vocabularies, **known | names)

  @parameterized.parameters(
      {'mean': 2.5},
      {'vocabularies': '{"a": ["y"]}'},
      {'entity_type': 'item'},
      {'entity_feature': 'c'},
      {'item_feature': 'c'},
  )
  def test_changes_with_whatever_numbers_mean(self, **changed):
    self.assertEqual(self.compute(), self.compute())
    self.assertNotEqual(self.compute(), self.compute(**changed))


if __name__ == '__main__':
  absltest.main()
