from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pyarrow.parquet as pq
import small_log

from limaml_jax import errors
from limaml_jax.data.tasks import event_runs
from limaml_jax.data.tasks import task_table

GOOD = [
    f'user{n % 20},m{n % 4},{1 + n % 5},{n},{small_log.START + n},tv'
    for n in range(398)
]
BAD = {
    'time': 'ann,m1,4,0,noon,tv',
    'label': f'bob,m1,,0,{small_log.START},tv',
    'key': f',m1,4,0,{small_log.START},tv',
    'repeated': GOOD[7],
}


class RejectsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.log = small_log.SmallLog(self.create_tempdir().full_path)

  def rejected(self):
    path = self.log.output / event_runs.REJECTS_FILE
    return pq.read_table(path).to_pylist() if path.exists() else []

  def prepare(self, lines, **settings):
    self.log.write_events(lines)
    self.log.write('users.csv', ('id,age,city', 'user1,30,Rome'))
    return self.log.prepare(**settings)

  @parameterized.named_parameters(
      ('time', 'time', "column 'time'", 'a number (s since 1970)', 'noon'),
      ('label', 'label', "label 'rating >= 4'", '0 or 1', None),
      ('key', 'key', "column 'user'", 'a key', None),
  )
  def test_a_bad_row_is_left_out_and_listed(self, bad, field, reason, value):
    info = self.prepare([*GOOD[:100], BAD[bad], *GOOD[100:]])
    self.assertEqual(info.num_interactions, 398)
    self.assertEqual(self.rejected(), [{
        'file': str(self.log.raw / 'log.csv'),
        'row': 102,  # Below the header and a hundred events.
        'field': field,
        'reason': reason,
        'value': value,
    }])  # fmt: skip

  def test_it_changes_nothing_else(self):
    expected = self.prepare(GOOD)
    found = self.prepare([BAD['time'], *GOOD, BAD['label'], BAD['repeated']])
    self.assertEqual(found.fingerprint, expected.fingerprint)
    self.assertLen(self.rejected(), 3)

  def test_the_second_of_repeated_rows_names_the_first(self):
    self.prepare([*GOOD, BAD['repeated']])
    (rejected,) = self.rejected()
    self.assertEqual(rejected['row'], 400)
    self.assertEqual(rejected['value'], f'{self.log.raw}/log.csv: line 9')

  def test_a_rejected_row_is_not_the_first_of_repeated_ones(self):
    spoiled = GOOD[7].replace(f',{1 + 7 % 5},', ',,')
    info = self.prepare([spoiled, *GOOD])
    self.assertEqual(info.num_interactions, 398)
    self.assertEqual([row['row'] for row in self.rejected()], [2])

  def test_each_row_keeps_its_first_reason(self):
    # Alike in entity, item and time: two without a label, one good, one more.
    spoiled = GOOD[7].replace(f',{1 + 7 % 5},', ',,')
    info = self.prepare([spoiled, spoiled, *GOOD, GOOD[7]])
    self.assertEqual(info.num_interactions, 398)
    self.assertEqual(
        [(row['row'], row['reason']) for row in self.rejected()],
        [(2, '0 or 1'), (3, '0 or 1'), (402, 'one row for each')],
    )

  def test_a_key_that_is_a_text_of_its_own(self):
    info = self.prepare([*GOOD, GOOD[0].replace('user0', 'u' * 2000)])
    self.assertEqual(info.num_interactions, 398)
    (rejected,) = self.rejected()
    self.assertEqual(rejected['reason'], 'a key of at most 1024 characters')

  def test_a_stricter_fraction_judges_what_was_read_before(self):
    self.prepare([*GOOD, BAD['time']])
    with self.assertRaisesRegex(errors.InputError, '1 of 399 rows of the log'):
      self.log.prepare(max_reject_fraction=0.0)

  def test_nothing_but_rejected_rows(self):
    with self.assertRaisesRegex(errors.InputError, '2 of 2 rows'):
      self.prepare([BAD['time'], BAD['key']], max_reject_fraction=1.0)

  def test_more_than_the_fraction_stops_with_the_counts(self):
    bad = [BAD['time'], BAD['time'], BAD['label'], BAD['key'], BAD['time']]
    with self.assertRaises(errors.InputError) as caught:
      self.prepare([*GOOD, *bad])
    message = str(caught.exception)
    self.assertIn("log.csv: line 400: column 'time' is 'noon'", message)
    self.assertIn('5 of 403 rows are rejected', message)
    self.assertIn("column 'time': 3 not a number", message)
    self.assertIn("label 'rating >= 4': 1 not 0 or 1", message)
    self.assertFalse(self.log.output.exists())

  def test_the_fraction_is_the_callers(self):
    bad = [BAD['time']] * 20
    with self.assertRaises(errors.InputError):
      self.prepare([*GOOD, *bad])
    self.prepare([*GOOD, *bad], max_reject_fraction=0.05)
    self.assertLen(self.rejected(), 20)
    with self.assertRaises(errors.InputError):
      self.prepare([*GOOD, BAD['time']], max_reject_fraction=0.0)

  def test_a_number_out_of_its_range(self):
    self.log.edit_schema('column = "age"', 'column = "age"\nmaximum = 99')
    lines = [f'user{n},{n % 90},Oslo' for n in range(200)]
    self.log.write_events(GOOD)
    self.log.write('users.csv', ['id,age,city', *lines, 'user200,100,Rome'])
    self.log.prepare()
    (rejected,) = self.rejected()
    self.assertEqual(rejected['row'], 202)
    self.assertEqual(rejected['reason'], '99 or less (maximum)')
    self.assertEqual(rejected['value'], '100')

  def test_weights(self):
    self.log.edit_schema(
        'label = "rating >= 4"', 'label = "rating >= 4"\nweight = "watched"'
    )
    # The first event was watched for 0 seconds, which is no weight.
    info = self.prepare(GOOD)
    self.assertEqual(info.num_interactions, 397)
    (rejected,) = self.rejected()
    self.assertEqual(rejected['reason'], 'a finite number above 0')
    weights = task_table.load(self.log.output).weights
    self.assertAlmostEqual(weights.sum(), sum(range(398)), places=1)

  def test_targets(self):
    self.log.edit_schema(
        'label = "rating >= 4"',
        'label = "rating >= 4"\ntarget = "watched / 395"',
    )
    # The last two were watched for longer than that.
    info = self.prepare(GOOD)
    self.assertEqual(info.num_interactions, 396)
    first, second = self.rejected()
    self.assertEqual(first['reason'], 'a number from 0 to 1')
    self.assertEqual(second['field'], "target 'watched / 395'")
    table = task_table.load(self.log.output)
    np.testing.assert_allclose(
        np.sort(table.targets), np.arange(396) / 395, rtol=1e-6
    )


if __name__ == '__main__':
  absltest.main()
