import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import small_log

from limaml_jax import errors
from limaml_jax.data.log import schema_file

SCHEMAS = pathlib.Path(__file__).parents[2] / 'experiments' / 'schemas'


class LoadTest(parameterized.TestCase):

  @parameterized.parameters('ml100k', 'ml1m', 'kuairand')
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
