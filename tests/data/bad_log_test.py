from absl.testing import absltest
from absl.testing import parameterized
import duckdb
import small_log

from limaml_jax import errors

ROW = 'ann,m0,{rating},0,{time},tv'
GOOD = f'ann,m8,4,0,{small_log.START},tv'


class BadLogTest(parameterized.TestCase):
  """Each bad input is refused in one line; what stood there stays intact."""

  def setUp(self):
    super().setUp()
    self.log = small_log.SmallLog(self.create_tempdir().full_path)
    self.log.prepare()
    self.before = self.read_output()

  def read_output(self):
    return {
        path.relative_to(self.log.root): path.read_bytes()
        for path in sorted(self.log.output.rglob('*')) if path.is_file()
    }

  def assert_refused(self, *parts, **protocol):
    with self.assertRaises(errors.InputError) as caught:
      self.log.prepare(**protocol)
    message = str(caught.exception)
    for part in parts:
      self.assertIn(part, message)
    self.assertNotIn('\n', message)
    self.assertEqual(self.read_output(), self.before)
    # Nothing but what was there before stands beside the output.
    self.assertEqual(
        sorted(path.name for path in self.log.root.iterdir()),
        ['output', 'raw', 'schema.toml'],
    )

  @parameterized.named_parameters(
      # Events stand on lines 2 to 17; one more is line 18.
      ('rating', f'ann,m8,good,0,{small_log.START},tv',
       "line 18: column 'rating' is 'good', expected a number"),
      ('label_empty', f'ann,m8,,0,{small_log.START},tv',
       "line 18: label 'rating >= 4' is empty, expected 0 or 1"),
      ('time', 'ann,m8,4,0,noon,tv',
       "line 18: column 'time' is 'noon', expected a number (s since 1970)"),
      ('time_empty', 'ann,m8,4,0,,tv', "line 18: column 'time' is empty"),
      ('time_infinite', 'ann,m8,4,0,inf,tv', "line 18: column 'time' is 'inf'"),
      ('milliseconds', f'ann,m8,4,0,{small_log.START}000,tv',
       "line 18: column 'time' is '1000000000000', expected a time between"
       " 1990 and 2100 in 's'; set timestamp_unit = 'ms'"),
      ('entity_empty', f',m8,4,0,{small_log.START},tv',
       "line 18: column 'user' is empty"),
      ('item_empty', f'ann,,4,0,{small_log.START},tv',
       "line 18: column 'movie' is empty"),
      ('duplicate', f'ann,m0,4,0,{small_log.START},car',
       "line 18: columns 'user' and 'movie' and the time is as in"),
      ('torn', 'ann,m8', 'line 18: Original Line: ann,m8'),
  )
  def test_names_the_line_of(self, line, message):
    self.log.write_events([*small_log.EVENTS, line])
    self.assert_refused(f'log.csv: {message}')

  def test_names_the_first_of_several_lines_and_files(self):
    bad = [GOOD.replace(',4,', ',x,'), GOOD.replace(',4,', ',y,')]
    self.log.write_events([GOOD, *bad], 'log2.csv')
    self.log.write_events([bad[0]], 'log3.csv')
    self.assert_refused("log2.csv: line 3: column 'rating' is 'x'")

  def test_names_both_rows_of_a_duplicate(self):
    self.log.write_events([*small_log.EVENTS, *small_log.EVENTS[4:6]])
    self.assert_refused('log.csv: line 18', 'as in', 'log.csv: line 6')

  def test_label_outside_0_and_1(self):
    self.log.edit_schema('label = "rating >= 4"', 'label = "rating"')
    self.log.write_events([GOOD.replace(',4,', ',1,'), GOOD])
    self.assert_refused("log.csv: line 3: label 'rating' is '4'")

  @parameterized.named_parameters(
      ('text', 'dan,old,Rome', "is 'old', expected a finite number"),
      ('nan', 'dan,nan,Rome', "is 'nan', expected a finite number"),
      ('infinite', 'dan,-inf,Rome', "is '-inf', expected a finite number"),
      ('empty', 'dan,,Rome', 'is empty, expected a number, or a `fill`'),
  )
  def test_numeric_feature(self, line, message):
    self.log.write('users.csv', [*small_log.USERS, line])
    self.assert_refused(f"users.csv: line 5: column 'age' {message}", "'age'")

  def test_numeric_feature_below_its_logarithm(self):
    self.log.write('movies.csv', [*small_log.MOVIES, 'm8,,-1'])
    self.assert_refused("movies.csv: line 7: column 'length' is '-1'", 'log1p')

  def test_side_table_with_a_key_twice(self):
    self.log.write('users.csv', [*small_log.USERS, 'ann,31,Oslo'])
    self.assert_refused("users.csv: line 5: column 'id' is as in",
                        'users.csv: line 2')

  def test_side_table_that_spells_keys_otherwise(self):
    self.log.write('users.csv', ['id,age,city', 'u_ann,30,Rome'])
    self.assert_refused('users.csv: none of the 3 entity keys', "'u_ann'")

  def test_no_rows(self):
    self.log.write_events([])
    self.assert_refused('log.csv: has no rows')

  def test_empty_file(self):
    (self.log.raw / 'log.csv').write_text('')
    self.assert_refused('log.csv: is empty')

  def test_missing_file(self):
    (self.log.raw / 'users.csv').unlink()
    self.assert_refused('users.csv: not found')

  def test_missing_directory(self):
    self.log.raw.rename(self.log.root / 'elsewhere')
    with self.assertRaisesRegex(errors.InputError, 'raw: no such directory'):
      self.log.prepare()

  def test_missing_column(self):
    self.log.write_events([GOOD], header='user,film,rating,watched,time,device')
    self.assert_refused("log.csv: no column 'movie' for", 'interactions.item',
                        'user, film, rating, watched, time, device')

  def test_missing_column_of_a_feature(self):
    self.log.edit_schema('column = "city"', 'column = "town"')
    self.assert_refused("users.csv: no column 'town' for", "feature 'city'")

  @parameterized.named_parameters(
      ('name', 'ratng >= 4', 'ratng'),
      ('syntax', 'rating >=', 'is not an SQL expression'),
      ('two', '1); SELECT (2', 'is not an SQL expression'),
  )
  def test_label_that_is_no_expression(self, label, message):
    self.log.edit_schema('label = "rating >= 4"', f'label = "{label}"')
    self.assert_refused('schema.toml: interactions.label', message)

  @parameterized.named_parameters(
      ('outcome', 'column', 'watched', 'an outcome'),
      ('label', 'column', 'rating', 'what the label is made of'),
      ('expression', 'expression', 'ln(1 + Watched)', 'an outcome'),
  )
  def test_feature_known_only_after_the_event(self, key, value, message):
    self.log.edit_schema('outcomes = ["rating", "watched"]',
                         'outcomes = ["watched"]')
    self.log.add_feature(
        name='leak', owner='context', kind='numeric', role='global',
        **{key: value},
    )
    self.assert_refused("schema.toml: feature 'leak'", message)

  def test_feature_that_the_target_is_made_of(self):
    self.log.edit_schema(
        'outcomes = ["rating", "watched"]', 'target = "watched / 1000"'
    )
    self.log.add_feature(
        name='leak', owner='context', kind='numeric', role='global',
        column='watched',
    )
    self.assert_refused(
        "schema.toml: feature 'leak'", 'what the target is made of'
    )

  def test_misspelled_outcome(self):
    self.log.edit_schema('"watched"]', '"wached"]')
    self.assert_refused("interactions.outcomes: ", "no column 'wached'",
                        "did you mean 'watched'?")

  def test_unknown_task_entity(self):
    self.assert_refused('[entities.usr]', "did you mean 'user'?",
                        task_entity='usr')

  def test_protocol(self):
    self.assert_refused('protocol.train_end', split='by_time')


class BadParquetTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.log = small_log.SmallLog(self.create_tempdir().full_path)
    self.log.edit_schema('files = ["log*.csv"]\nformat = "csv"',
                         'files = ["log.parquet"]\nformat = "parquet"')
    self.path = self.log.raw / 'log.parquet'

  def write(self, columns='*'):
    duckdb.sql(
        f"COPY (SELECT {columns} FROM read_csv('{self.log.raw}/log.csv'))"
        f" TO '{self.path}' (FORMAT parquet)"
    )

  def assert_refused(self, *parts):
    with self.assertRaises(errors.InputError) as caught:
      self.log.prepare()
    for part in parts:
      self.assertIn(part, str(caught.exception))
    self.assertNotIn('\n', str(caught.exception))
    self.assertFalse(self.log.output.exists())

  def test_torn(self):
    self.write()
    self.path.write_bytes(self.path.read_bytes()[:-20])
    self.assert_refused('log.parquet: cannot be read')

  def test_names_the_row(self):
    # Row 3 is the first with rating 3.
    self.write("* REPLACE (if(rating = 3, NULL, movie) AS movie)")
    self.assert_refused("log.parquet: row 3: column 'movie' is empty")

  def test_timestamps_of_their_own_type(self):
    self.write('* REPLACE (to_timestamp(time) AS time)')
    self.assert_refused("log.parquet: column 'time' has type TIMESTAMP",
                        "set timestamp_unit = 'iso'")


if __name__ == '__main__':
  absltest.main()
