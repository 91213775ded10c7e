import json
import os

from absl.testing import absltest
from absl.testing import parameterized
import small_log

from limaml_jax import errors
from limaml_jax.data import dataset
from limaml_jax.data.tasks import task_table

DAY = 86400


def day(number, size=30):
  return [
      f'user{n % 7},m{n % 4},{1 + (n + number) % 5},{n},'
      f'{small_log.START + number * DAY + 60 * n},tv'
      for n in range(size)
  ]


class IncrementalTest(parameterized.TestCase):
  """A new day is added without reading the old ones again."""

  def setUp(self):
    super().setUp()
    self.log = small_log.SmallLog(self.create_tempdir().full_path)
    (self.log.raw / 'log.csv').unlink()
    self.log.write('users.csv', ('id,age,city', 'user1,30,Rome'))
    for number in range(2):
      self.log.write_events(day(number), f'log{number}.csv')
    self.log.prepare()

  def spoil(self, name):
    """Makes a file unreadable, without a trace that it was changed."""
    path = self.log.raw / name
    status = path.stat()
    path.write_bytes(b'\xff' * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

  def from_scratch(self):
    return self.log.prepare(output=self.log.root / 'from_scratch')

  @parameterized.parameters('keep', 'first', 'error')
  def test_equals_a_dataset_from_scratch(self, duplicates):
    self.log.edit_schema(
        'duplicates = "error"', f'duplicates = "{duplicates}"'
    )
    self.log.prepare()
    self.log.write_events(day(2), 'log2.csv')
    expected = self.from_scratch()
    self.spoil('log0.csv')
    self.spoil('log1.csv')
    found = self.log.prepare()
    self.assertEqual(found.num_interactions, 90)
    self.assertEqual(found.fingerprint, expected.fingerprint)

  def test_day_after_day(self):
    for number in (2, 3, 4):
      self.log.write_events(day(number), f'log{number}.csv')
      found = self.log.prepare()
    self.assertEqual(found.fingerprint, self.from_scratch().fingerprint)
    runs = json.loads((self.log.output / 'events/runs.json').read_text())
    self.assertEqual([len(run['files']) for run in runs], [2, 1, 1, 1])

  def test_an_earlier_day_comes_before(self):
    self.log.write_events(day(-3), 'log9.csv')
    found = self.log.prepare()
    self.assertEqual(found.fingerprint, self.from_scratch().fingerprint)

  def test_a_changed_file_is_read_again(self):
    self.log.write_events(day(0)[:-1], 'log0.csv')
    found = self.log.prepare()
    self.assertEqual(found.num_interactions, 59)
    self.assertEqual(found.fingerprint, self.from_scratch().fingerprint)

  def test_a_removed_file_is_gone(self):
    (self.log.raw / 'log0.csv').unlink()
    self.assertEqual(self.log.prepare().num_interactions, 30)

  def test_another_schema_reads_anew(self):
    self.log.edit_schema('rating >= 4', 'rating >= 5')
    found = self.log.prepare()
    self.assertEqual(found.fingerprint, self.from_scratch().fingerprint)

  def test_other_settings_of_tasks_read_nothing(self):
    self.spoil('log0.csv')
    self.spoil('log1.csv')
    found = self.log.prepare(test_fraction=0.5)
    self.assertEqual(found.num_interactions, 60)

  def test_repeated_events_of_an_earlier_day_are_refused(self):
    self.log.write_events([*day(2), day(1)[3]], 'log2.csv')
    with self.assertRaisesRegex(
        errors.InputError, "log2.csv: 1 events .* set duplicates = 'first'"
    ):
      self.log.prepare()

  def test_or_left_out(self):
    self.log.edit_schema('duplicates = "error"', 'duplicates = "first"')
    self.log.prepare()
    # Alike in entity, item and time, but rated 1 instead of 5.
    again = day(1)[3].split(',')
    self.assertEqual(again[2], '5')
    again[2] = '1'
    self.log.write_events([*day(2), ','.join(again)], 'log2.csv')
    found = self.log.prepare()
    self.assertEqual(found.num_interactions, 90)
    self.assertEqual(found.fingerprint, self.from_scratch().fingerprint)
    # The first one stays: of the 30 events of a day, 12 are rated 4 or 5.
    labels = task_table.load(self.log.output).labels
    self.assertEqual(labels.sum(), 3 * 12)

  @parameterized.parameters(('x', 'line 2: column .* is'), ('3.5', ''))
  def test_all_files_say_whether_a_column_is_of_numbers(self, rating, refused):
    # Alone the new day would make it one of texts, or of fractions.
    lines = [line.split(',') for line in day(2)]
    lines = [','.join([*cells[:2], rating, *cells[3:]]) for cells in lines]
    self.log.write_events(lines, 'log2.csv')
    if refused:
      with self.assertRaisesRegex(errors.InputError, f'log2.csv: {refused}'):
        self.log.prepare()
    else:
      found = self.log.prepare()
      self.assertEqual(found.fingerprint, self.from_scratch().fingerprint)
      # None of the new day's 3.5 is 4 or more.
      labels = task_table.load(self.log.output).labels
      self.assertEqual(labels.sum(), 2 * 12)

  def test_a_text_that_looks_like_a_number_stays_one(self):
    self.log.add_feature(
        name='place', owner='context', kind='categorical', role='global',
        expression="concat(device, '')",
    )  # fmt: skip
    self.log.prepare()
    # Alone the new day's places would be numbers, spelled '1'.
    lines = [line.replace(',tv', ',01') for line in day(2)]
    self.log.write_events(lines, 'log2.csv')
    found = self.log.prepare()
    self.assertEqual(found.fingerprint, self.from_scratch().fingerprint)
    tokens = dataset.load_vocabularies(self.log.output)['place']
    self.assertEqual(sorted(tokens), ['01', 'tv'])

  def test_a_run_whose_parts_are_gone_is_read_again(self):
    for path in (self.log.output / 'events').glob('*'):
      if path.suffix != '.json':
        path.unlink()
    self.log.write_events(day(2), 'log2.csv')
    self.assertEqual(self.log.prepare().num_interactions, 90)


if __name__ == '__main__':
  absltest.main()
