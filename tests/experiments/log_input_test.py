import contextlib
import pathlib

from absl.testing import absltest

from experiments import log_input
from limaml_jax import errors
from limaml_jax.data.log import sources

SCHEMA = """
name = "mine"

[interactions]
files = ["schema.parquet"]
format = "parquet"
item = "item"
timestamp = "time"
timestamp_unit = "s"
label = "clicked"

[entities.user]
key = "user"
"""
SIDE_TABLE = """
[entities.user.side_table]
files = ["users.parquet"]
format = "parquet"
key = "user"
"""


class LogInputTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.dir = pathlib.Path(self.create_tempdir().full_path)
    self.schema = self.dir / 'schemas' / 'mine.toml'
    self.write('schemas/mine.toml', SCHEMA + SIDE_TABLE)
    for name in ('2.parquet', '1.parquet', 'other.csv'):
      self.write(f'logs/{name}', 'log')

  def write(self, name, text):
    path = self.dir / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)

  def find(self, *inputs, data_dir=None):
    return log_input.find(str(self.schema), inputs, data_dir)

  def opened(self, log):
    """Returns the files of a log as `prepare` finds them."""
    return [
        path.relative_to(self.dir)
        for path in sources.find_files(log.files, log.data_dir)
    ]

  def test_globs_are_relative_to_the_current_directory(self):
    expected = [pathlib.Path('logs/1.parquet'), pathlib.Path('logs/2.parquet')]
    with contextlib.chdir(self.dir):
      log = self.find('logs/*.parquet')
      self.assertEqual(self.opened(log), expected)
    log = self.find(f'{self.dir}/logs/*.parquet')
    self.assertEqual(self.opened(log), expected)
    self.assertEqual(log.load_schema().interactions.files, log.files)

  def test_a_file_counts_once(self):
    one = f'{self.dir}/logs/1.parquet'
    log = self.find(one, f'{self.dir}/logs/*.parquet')
    self.assertLen(log.files, 2)

  def test_a_name_is_no_glob(self):
    self.write('logs/[12].parquet', 'log')
    log = self.find(f'{self.dir}/logs/[[]12].parquet')
    self.assertEqual(self.opened(log), [pathlib.Path('logs/[12].parquet')])

  def test_side_tables_beside_the_log_come_first(self):
    self.write('schemas/users.parquet', 'users')
    log = self.find(f'{self.dir}/logs/*.parquet')
    self.assertEqual(log.data_dir, self.schema.parent)
    self.assertLen(self.opened(log), 2)
    self.write('logs/users.parquet', 'users')
    log = self.find(f'{self.dir}/logs/1.parquet')
    self.assertEqual(log.data_dir, self.dir / 'logs')

  def test_a_data_dir_that_is_given_counts(self):
    self.write('schemas/users.parquet', 'users')
    log = self.find(f'{self.dir}/logs/1.parquet', data_dir=str(self.dir))
    self.assertEqual(log.data_dir, self.dir)
    self.assertEqual(self.opened(log), [pathlib.Path('logs/1.parquet')])

  def test_without_input_the_files_of_the_schema_are_beside_it(self):
    log = self.find()
    self.assertEqual(log.data_dir, self.schema.parent)
    files = log.load_schema().interactions.files
    self.assertEqual(files, ('schema.parquet',))

  def test_a_public_schema_needs_its_files(self):
    with self.assertRaisesRegex(errors.InputError, '--input or --data_dir'):
      log_input.find('ml100k', [], None)

  def test_a_glob_without_files_is_refused(self):
    with self.assertRaisesRegex(errors.InputError, 'no such file'):
      self.find(f'{self.dir}/nowhere/*.parquet')


if __name__ == '__main__':
  absltest.main()
