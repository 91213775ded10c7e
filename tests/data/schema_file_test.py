import dataclasses
import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import small_log

from limaml_jax import errors
from limaml_jax.data.log import schema_file

AGE = 'kind = "numeric"\nrole = "meta"\ncolumn = "age"'
BUCKETIZED = AGE.replace('numeric', 'bucketized') + '\n'
SCHEMAS = pathlib.Path(__file__).parents[2] / 'experiments' / 'schemas'


class LoadTest(parameterized.TestCase):

  @parameterized.parameters(*sorted(path.stem for path in SCHEMAS.iterdir()))
  def test_accepts_what_is_shipped(self, name):
    schema = schema_file.load(SCHEMAS / f'{name}.toml')
    self.assertEqual(schema.name, name)
    self.assertNotEmpty(schema.features)

  @parameterized.named_parameters(
      ('unknown_key', 'item = "movie"', 'itme = "movie"',
       "interactions.itme: unknown key; did you mean 'item'?"),
      ('unknown_table', '[item.side_table]', '[items.side_table]',
       ": items: unknown key; did you mean 'item'?"),
      ('unknown_feature_key', 'separator = "|"', 'seperator = "|"',
       r"features\[2\].seperator: unknown key; did you mean 'separator'?"),
      ('missing_key', 'key = "user"', '', "entities.user: key 'key'"),
      ('choice', 'kind = "multi_hot"', 'kind = "list"',
       r"features\[2\].kind: 'list' is not one of"),
      ('type', 'fill = 100', 'fill = "much"',
       r"features\[3\].fill: is 'much', expected a number"),
      ('no_files', 'files = ["users.csv"]', 'files = []',
       'side_table.files: is empty'),
      ('no_width', 'max_values = 2', '', 'genres.: max_values'),
      ('both', 'column = "age"', 'column = "age"\nexpression = "age"',
       'age.: give either column or expression'),
      ('misplaced', 'column = "city"', 'column = "city"\nfill = 1',
       'city.: fill and transform are for numeric'),
      ('no_side_table', '[item.side_table]\nfiles = ["movies.csv"]\n'
       'format = "csv"\nkey = "id"', '', r'no \[item.side_table\]'),
      ('entity_in_log', 'column = "city"', 'column = "city"\nsource = "log"',
       "owner 'context'"),
      ('zone_of_numbers', 'timestamp_unit = "s"',
       'timestamp_unit = "s"\ntimestamp_zone = "Europe/Berlin"',
       "timestamp_zone: is for timestamp_unit = 'iso' only.*; remove it"),
      ('zone', 'timestamp_unit = "s"',
       'timestamp_unit = "iso"\ntimestamp_zone = "Europe/Berlim"',
       "timestamp_zone: unknown time zone 'Europe/Berlim'; did you mean"
       " 'Europe/Berlin'?"),
      ('zone_like_none', 'timestamp_unit = "s"',
       'timestamp_unit = "iso"\ntimestamp_zone = "+99"',
       "unknown time zone '\\+99'; give a name such as"),
      ('unit_without_time', 'files = ["users.csv"]',
       'files = ["users.csv"]\nvalid_from_unit = "s"',
       'entities.user.side_table.valid_from_unit: there is no valid_from'),
      ('unit_without_time_of_items', 'files = ["movies.csv"]',
       'files = ["movies.csv"]\nvalid_from_unit = "s"',
       ': item.side_table.valid_from_unit: there is no valid_from'),
      ('unit_of_validity', 'files = ["users.csv"]',
       'files = ["users.csv"]\nvalid_from = "on"\nvalid_from_unit = "days"',
       "valid_from_unit: 'days' is not one of"),
      ('limits_of_text', 'column = "city"', 'column = "city"\nminimum = 1',
       'city.: minimum and maximum are for numeric and bucketized; remove'),
      ('limits_crossed', 'column = "age"',
       'column = "age"\nminimum = 1\nmaximum = 0.5',
       'age.: minimum: 1.0 is above the maximum 0.5; swap'),
      ('limit_infinite', 'column = "age"', 'column = "age"\nmaximum = inf',
       'maximum: is inf, expected a finite number'),
      ('boundaries_of_numeric', 'column = "age"',
       'column = "age"\nboundaries = [1]',
       'age.: boundaries and num_buckets are for bucketized; remove'),
      ('no_buckets', AGE, BUCKETIZED,
       'age.: bucketized needs either boundaries or num_buckets; give one'),
      ('buckets_twice', AGE, BUCKETIZED + 'num_buckets = 2\nboundaries = [1]',
       'age.: bucketized needs either boundaries or num_buckets; give one'),
      ('one_bucket', AGE, BUCKETIZED + 'num_buckets = 1',
       'age.: num_buckets: is 1; give 2 or more'),
      ('boundaries_descend', AGE, BUCKETIZED + 'boundaries = [1, 3, 2]',
       'age.: boundaries: do not ascend'),
      ('boundaries_alike', AGE, BUCKETIZED + 'boundaries = [1e9, 1000000001]',
       'age.: boundaries: do not ascend in 32 bits'),
      ('boundaries_of_text', AGE, BUCKETIZED + 'boundaries = ["a"]',
       r"features\[0\].boundaries: is 'a', expected a number"),
      ('fill_of_buckets', AGE, BUCKETIZED + 'num_buckets = 2\nfill = 1',
       'age.: fill and transform are for numeric'),
      ('hashed_number', 'column = "age"', 'column = "age"\nhash_buckets = 9',
       'age.: hash_buckets: is 9; give 1 or more to a categorical'),
      ('hashed_to_less', 'column = "city"',
       'column = "city"\nhash_buckets = -1',
       'city.: hash_buckets: is -1; give 1 or more'),
      ('misspelled_buckets', 'column = "city"',
       'column = "city"\nhash_bucket = 9',
       "hash_bucket: unknown key; did you mean 'hash_buckets'?"),
      ('twice', 'name = "city"', 'name = "Age"', 'is there twice'),
      ('not_toml', 'name = "small"', 'name = ', 'not TOML.*line 2'),
  )
  def test_names_what_is_wrong(self, old, new, message):
    log = small_log.SmallLog(self.create_tempdir().full_path)
    log.edit_schema(old, new)
    with self.assertRaisesRegex(errors.InputError, message) as caught:
      schema_file.load(log.schema)
    self.assertIn('schema.toml', str(caught.exception))
    self.assertNotIn('\n', str(caught.exception))

  def test_reads_what_is_new_of_every_table(self):
    log = small_log.SmallLog(self.create_tempdir().full_path)
    log.edit_schema(
        'timestamp_unit = "s"',
        'timestamp_unit = "iso"\ntimestamp_zone = "Asia/Shanghai"\n'
        'target = "watched / 9"\nweight = "1 + watched"',
    )
    log.edit_schema(
        'files = ["users.csv"]',
        'files = ["users.csv"]\nvalid_from = "on"\nvalid_from_unit = "ms"',
    )
    log.edit_schema(AGE, BUCKETIZED + 'boundaries = [18, 35.5]\nminimum = 0')
    log.edit_schema('column = "city"', 'column = "city"\nhash_buckets = 9')
    schema = schema_file.load(log.schema)
    self.assertEqual(schema.interactions.timestamp_zone, 'Asia/Shanghai')
    self.assertEqual(schema.interactions.weight, '1 + watched')
    self.assertEqual(schema.interactions.target, 'watched / 9')
    table = schema.entities['user'].side_table
    self.assertEqual((table.valid_from, table.valid_from_unit), ('on', 'ms'))
    age, city, *_ = schema.features
    self.assertEqual(age.boundaries, (18.0, 35.5))
    self.assertEqual((age.minimum, age.maximum), (0.0, None))
    self.assertTrue(age.is_number)
    self.assertEqual(city.hash_buckets, 9)

  def load_above(self, text):
    """Returns a schema, and another that has it as base and says more."""
    log = small_log.SmallLog(self.create_tempdir().full_path)
    top = log.root / 'top.toml'
    top.write_text(f'base = "schema.toml"\n{text}')
    return schema_file.load(log.schema), schema_file.load(top)

  def test_a_base_comes_first(self):
    base, schema = self.load_above(
        '[[features]]\nname = "seen"\n'
        'kind = "past_count"\nrole = "global"\nof = ["movie"]\n'
    )
    self.assertEqual(schema.name, 'small')
    self.assertEndsWith(schema.path, '/top.toml')
    self.assertEqual(schema.interactions, base.interactions)
    self.assertEqual(schema.features[:-1], base.features)
    self.assertEqual(schema.features[-1].name, 'seen')
    self.assertEqual(schema.features[-1].of, ('movie',))

  def test_keys_of_interactions_that_are_said_again_replace_those(self):
    base, schema = self.load_above(
        '[interactions]\ntarget = "watched / 9"\noutcomes = ["watched"]'
    )
    self.assertEqual(
        schema.interactions,
        dataclasses.replace(
            base.interactions, target='watched / 9', outcomes=('watched',)
        ),
    )

  def test_a_side_table_that_is_said_again_replaces_that_of_the_base(self):
    log = small_log.SmallLog(self.create_tempdir().full_path)
    top = log.root / 'top.toml'
    top.write_text(
        'base = "schema.toml"\n[entities.user]\nkey = "user"\n'
        '[entities.user.side_table]\nfiles = ["more.parquet"]\n'
        'format = "parquet"\nkey = "id"\n'
    )
    base, schema = schema_file.load(log.schema), schema_file.load(top)
    self.assertEqual(
        schema.entities['user'].side_table.files, ('more.parquet',)
    )
    self.assertEqual(schema.item, base.item)
    self.assertEqual(schema.features, base.features)
    top.write_text(
        'base = "schema.toml"\n[item.side_table]\nfiles = ["more.parquet"]\n'
        'format = "parquet"\nkey = "id"\n'
    )
    schema = schema_file.load(top)
    self.assertEqual(schema.item.side_table.files, ('more.parquet',))
    self.assertEqual(schema.entities, base.entities)

  @parameterized.parameters(
      ('base = "top.toml"', "base: 'top.toml' is based on this schema"),
      ('base = "round.toml"', "round.toml: base: 'top.toml' is based on this"),
      ('base = "none.toml"', "base: 'none.toml' is no file beside it"),
      ('base = 3', 'base: is 3, expected text'),
      ('base = "schema.toml"\ninteractions = 3',
       'interactions: is 3, expected a table'),
      ('base = "schema.toml"\n[interactions]\ntarge = "0"',
       "interactions.targe: unknown key; did you mean 'target'"),
      ('base = "schema.toml"\nstorage = 3',
       'storage: beside base there are name'),
      ('base = "schema.toml"\nitem = 3', 'item: is 3, expected a table'),
      ('base = "schema.toml"\nitem = {}',
       r'top.toml: base: features\[2\] .genres.: there is no .item.side_table'),
      ('base = "schema.toml"\n[entities.user]\nkey = "user"',
       r'base: features\[0\] .age.: there is no .entities.user.side_table'),
      ('base = "schema.toml"\n[[features]]\nname = "age"\nowner = "context"\n'
       'kind = "numeric"\nrole = "global"\ncolumn = "x"', "'age' is there twi"),
      ('base = "schema.toml"\n[[features]]\nname = "x"\nowner = "context"\n'
       'kind = "numeric"\nrole = "global"', r'features\[0\] .x.: give either'),
  )  # fmt: skip
  def test_refuses_a_base(self, text, message):
    log = small_log.SmallLog(self.create_tempdir().full_path)
    (log.root / 'top.toml').write_text(text)
    (log.root / 'round.toml').write_text('base = "top.toml"')
    with self.assertRaisesRegex(errors.InputError, message):
      schema_file.load(log.root / 'top.toml')

  def test_names_a_missing_file(self):
    with self.assertRaisesRegex(errors.InputError, 'none.toml: cannot be read'):
      schema_file.load('none.toml')

  def test_asks_whose_feature_it_is_among_several_entities(self):
    log = small_log.SmallLog(self.create_tempdir().full_path)
    log.edit_schema(
        '[entities.user]', '[entities.device]\nkey = "box"\n\n[entities.user]'
    )
    with self.assertRaisesRegex(errors.InputError, 'key entity is missing'):
      schema_file.load(log.schema)


if __name__ == '__main__':
  absltest.main()
