import json
import pathlib

from absl.testing import absltest

from tests.experiments import commands


class DryRunTest(absltest.TestCase):
  """`prepare` with --schema and --input, as its users call it."""

  def setUp(self):
    super().setUp()
    self.dir = pathlib.Path(self.create_tempdir().full_path)
    commands.write_log(self.dir)
    self.log = ('--schema=ml100k', f'--input={self.dir}/*.inter')
    with (self.dir / 'ml-100k.inter').open('a') as file:
      file.write('1\t2\tfive\t880000000\n')
    self.rows = len((self.dir / 'ml-100k.inter').read_text().splitlines()) - 1

  def run_prepare(self, *flags):
    return commands.run('prepare', *flags)

  def listing(self):
    folders = (self.dir, commands.ROOT)
    return {path for folder in folders for path in folder.iterdir()}

  def test_prints_one_json_object_and_writes_nothing(self):
    before = self.listing()
    result = self.run_prepare(
        *self.log, '--dry_run', '--json', f'--output={self.dir}/tasks'
    )
    self.assertEqual(result.returncode, 0, result.stderr)
    known = json.loads(result.stdout)
    self.assertEqual(known['rows'], self.rows)
    self.assertEqual([one['rows'] for one in known['rejects']], [1])
    self.assertEqual(known['entities'], 40)
    self.assertEqual(self.listing(), before)

  def test_prints_plain_text_into_a_pipe(self):
    result = self.run_prepare(*self.log, '--dry_run')
    self.assertEqual(result.returncode, 0, result.stderr)
    self.assertIn(f'{self.rows} rows, 40 entities', result.stdout)
    self.assertIn("expression 'rating': 1 of", result.stdout)
    self.assertRegex(result.stdout, r'(?m)^entity +40 +0 +40 of 40  100.00%$')
    self.assertTrue(result.stdout.isascii(), result.stdout)

  def test_prepares_with_the_settings_of_the_library(self):
    commands.write_log(self.dir)  # Without the bad row.
    output = self.dir / 'tasks'
    result = self.run_prepare(
        *self.log, f'--output={output}', '--memory_limit=1GB',
        '--config.protocol.test_fraction=0.5',
    )
    self.assertEqual(result.returncode, 0, result.stderr)
    self.assertIn(f'{self.rows - 1} interactions of 40 users', result.stdout)
    info = json.loads((output / 'dataset.json').read_text())
    # The default, which ml100k.py changes, has no newcomers.
    self.assertEqual(
        info['protocol'], "test: last 50% of each entity's events"
    )

  def test_what_is_wrong_is_one_line(self):
    bad = self.dir / 'bad.toml'
    text = (commands.ROOT / 'experiments/schemas/ml100k.toml').read_text()
    bad.write_text(text.replace('column = "gender"', 'column = "sex"'))
    (self.dir / 'torn.parquet').write_text('PAR1')
    torn = self.dir / 'torn.toml'
    torn.write_text(text.replace('"atomic"', '"parquet"', 1))
    cases = (
        (self.log, '--output: say where to'),
        ((*self.log, '--json', '--output=x'), '--json: is for --dry_run'),
        (('--schema=nowhere', '--dry_run'), "data.schema is 'nowhere'"),
        ((f'--schema={bad}', self.log[1], '--dry_run'), "no column 'sex'"),
        ((f'--schema={torn}', f'--input={self.dir}/torn.parquet', '--dry_run'),
         'torn.parquet: cannot be read'),
    )  # fmt: skip
    for flags, message in cases:
      with self.subTest(message):
        result = self.run_prepare(*flags)
        self.assertEqual(result.returncode, 1)
        lines = result.stderr.strip().splitlines()
        self.assertStartsWith(lines[-1], 'error: ')
        self.assertIn(message, lines[-1])
        self.assertNotIn('Traceback', result.stderr)
        self.assertEmpty(result.stdout)


if __name__ == '__main__':
  absltest.main()
