"""The daily refresh and the store's commands, as processes."""

import json
import pathlib
import shutil
import tempfile

from absl.testing import absltest

from tests.experiments import commands


class RefreshTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.dir = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.dir)
    commands.write_log(cls.dir / 'raw')
    data = f'--data={cls.dir / "tasks"}'
    cls.run_dir = cls.dir / 'run'
    cls.given = (data, f'--workdir={cls.run_dir}', commands.CACHE)
    for verb, *flags in (
        ('prepare', f'--data_dir={cls.dir / "raw"}', commands.CACHE,
         f'--output={cls.dir / "tasks"}'),
        ('train', *cls.given),
    ):  # fmt: skip
      result = commands.run(verb, *flags, *commands.SMALL)
      assert not result.returncode, result.stderr

  def setUp(self):
    super().setUp()
    self.store = f'--store=lmdb:{self.create_tempdir().full_path}'

  def refresh(self, *flags):
    return commands.run('refresh', *self.given, self.store, *flags)

  def look_after(self, verb, *flags):
    return commands.run('store', verb, self.store, *flags)

  def test_publishes_once_for_a_cutoff(self):
    first = self.refresh('--cutoff=1997-11-20T12:00:00+00:00')
    self.assertEqual(first.returncode, 0, first.stderr)
    self.assertIn('adapted 40 users, carried over 0', first.stdout)
    self.assertIn('gate: pass finite', first.stdout)
    self.assertIn('refresh: adapt', first.stderr)
    self.assertIn('snapshot 00000001 published: 40 users', first.stdout)
    again = self.refresh('--cutoff=1997-11-20T12:00:00+00:00')
    self.assertEqual(again.returncode, 0, again.stderr)
    self.assertIn('snapshot 00000001 already published', again.stdout)
    later = self.refresh('--max_drift=9')  # So few users drift far.
    self.assertIn('snapshot 00000002 published', later.stdout)
    self.assertNotIn('carried over 0', later.stdout)
    self.assertIn('incremental on 00000001', self.look_after('list').stdout)

  def test_refused_forced_and_rolled_back(self):
    self.refresh('--cutoff=1997-11-20T12:00:00+00:00')
    refused = self.refresh('--max_drift=0')
    self.assertEqual(refused.returncode, 3)
    self.assertIn('gate: FAIL drift of all', refused.stdout)
    self.assertIn('snapshot 00000002 refused', refused.stdout)
    verdict = self.run_dir / 'refresh' / 'user' / 'gate.json'
    self.assertIn(str(verdict), refused.stderr)
    self.assertFalse(json.loads(verdict.read_text())['passed'])
    self.assertIn('not published', self.look_after('list').stdout)

    forced = self.refresh('--max_drift=0', '--force')
    self.assertEqual(forced.returncode, 0)
    self.assertIn('PUBLISHED BY FORCE', forced.stderr)
    back = self.look_after('rollback')
    self.assertIn('snapshot 00000001 is served again', back.stdout)
    published = self.look_after('publish', '--version=2')
    self.assertIn('snapshot 00000002 published', published.stdout)
    self.assertIn('deleted 1', self.look_after('prune', '--keep=1').stdout)
    self.assertIn('00000002: 40', self.look_after('verify').stdout)

  def test_two_processes_are_refused_alike(self):
    self.refresh('--cutoff=1997-11-20T12:00:00+00:00')
    refused = commands.run_by_two(
        'refresh', *self.given, self.store, '--max_drift=0'
    )
    self.assertEqual(refused.returncode, 3, refused.stderr[-3000:])
    for index in range(2):
      self.assertIn(f'process {index} ended with status 3', refused.stderr)
    self.assertIn('[0] gate: FAIL drift of all', refused.stdout)
    self.assertNotIn('[1]', refused.stdout)
    listed = self.look_after('list').stdout
    self.assertRegex(listed, '00000001.*CURRENT')
    self.assertRegex(listed, '00000002.*not published')

  def test_two_processes_fail_of_the_same_in_a_line_each(self):
    failed = commands.run_by_two('evaluate', '--data=nowhere', self.given[1])
    self.assertEqual(failed.returncode, 1)
    lines = [
        line for line in failed.stderr.splitlines() if line.startswith('[')
    ]
    self.assertLen(lines, 2, failed.stderr)
    for line in lines:
      self.assertIn('error: nowhere/dataset.json: not found', line)

  def test_two_processes_evaluate_as_one(self):
    def evaluate(run):
      result = run('evaluate', *self.given)
      self.assertEqual(result.returncode, 0, result.stderr[-3000:])
      paths = [
          self.run_dir / name for name in ('evaluation.json', 'scores.parquet')
      ]
      contents = [path.read_bytes() for path in paths]
      for path in paths:
        path.unlink()
      return result.stdout, contents

    printed, alone = evaluate(commands.run)
    printed_by_two, together = evaluate(commands.run_by_two)
    self.assertEqual(together, alone)
    self.assertEqual(printed_by_two.replace('[0] ', ''), printed)
    self.assertEmpty(list((self.run_dir / 'replay_store').glob('*.parquet')))

  def test_what_cannot_be_is_one_line(self):
    cases = (
        (self.refresh, '--cutoff=2999-01-01T00:00:00+00:00', 'ahead of the'),
        (self.refresh, '--store=ftp://there', 'expected lmdb:PATH'),
        (self.refresh, '--dtype=int4', 'int4'),
        (self.refresh, '--max_drift=inf', '--max_drift=inf: set a number'),
        (lambda flag: self.look_after('publish', flag), '--version=x', 'list'),
        (lambda flag: self.look_after('rollback', flag), '--keep=2',
         'no snapshot is published'),
    )  # fmt: skip
    for run, flag, message in cases:
      with self.subTest(flag):
        result = run(flag)
        self.assertEqual(result.returncode, 1)
        *_, last = result.stderr.strip().splitlines()
        self.assertStartsWith(last, 'error: ')
        self.assertIn(message, last)
        self.assertNotIn('Traceback', result.stderr)


if __name__ == '__main__':
  absltest.main()
