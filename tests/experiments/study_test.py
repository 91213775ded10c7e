"""A study and the report through their binaries, on a small log."""

import json
import pathlib
import shutil
import tempfile

from absl.testing import absltest

from tests.experiments import commands

_NAME = 'support_size'


class StudyTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.dir = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.dir)
    commands.write_log(cls.dir / 'raw')
    cls.result = cls.run_study()
    cls.out = cls.dir / 'studies' / f'{_NAME}-ml100k'

  @classmethod
  def run_study(cls, *flags, workdir='studies'):
    return commands.run(
        'study',
        f'--name={_NAME}',
        '--data=ml100k',
        f'--data_dir={cls.dir / "raw"}',
        f'--workdir={cls.dir / workdir}',
        f'--compilation_cache={cls.dir / "cache"}',
        '--seeds=1',
        *commands.SMALL,
        *flags,
    )

  def run_report(self, workdir):
    return commands.run('report', f'--workdir={workdir}')

  def test_writes_every_run_tables_figures_and_a_page(self):
    self.assertEqual(self.result.returncode, 0, self.result.stderr[-3000:])
    study = json.loads((self.out / 'study.json').read_text())
    self.assertEqual(study['seeds'], [0])
    self.assertEmpty(study['refused'])
    labels = [run['label'] for run in study['runs']]
    self.assertContainsSubset(['limaml', 'unadapted', 'random'], labels)
    for run in study['runs']:
      self.assertIn('roc_auc', run)
    page = (self.out / 'page.html').read_text()
    for text in ('<svg', 'Validation window', study['command'][:40], '[1/7]'):
      self.assertEqual(text in page, text != '[1/7]', text)
    self.assertIn('[1/7] limaml, seed 0: ROC-AUC', self.result.stderr)
    self.assertTrue((self.out / 'gains.svg').exists())
    self.assertIn('| `limaml` |', (self.out / 'table.md').read_text())

  def test_run_again_it_reads_what_is_there(self):
    again = self.run_study()
    self.assertEqual(again.returncode, 0, again.stderr[-3000:])
    self.assertEqual(again.stderr.count('(from before)'), 7, again.stderr)

  def test_report_collects_studies(self):
    result = self.run_report(self.dir / 'studies')
    self.assertEqual(result.returncode, 0, result.stderr)
    text = (self.dir / 'studies' / 'report.html').read_text()
    self.assertIn('Gain by number of events: ml100k', text)
    self.assertIn(f'href="#{_NAME}-ml100k"', text)
    self.assertNotIn('src=', text)

  def test_degenerate_runs_get_no_table(self):
    # Without inner steps LiMAML is its own unadapted self.
    result = self.run_study(
        '--config.inner_loop.num_steps=0', workdir='degenerate'
    )
    self.assertEqual(result.returncode, 1)
    last = result.stderr.strip().splitlines()[-1]
    self.assertStartsWith(last, 'error: ')
    self.assertIn('limaml and unadapted give identical scores', last)
    out = self.dir / 'degenerate' / f'{_NAME}-ml100k'
    study = json.loads((out / 'study.json').read_text())
    self.assertEmpty(study['tables'])
    self.assertLen(study['runs'], 7)
    self.assertIn('No table', (out / 'page.html').read_text())

  def test_what_is_not_there_is_one_line(self):
    empty = self.create_tempdir().full_path
    torn = pathlib.Path(self.create_tempdir().full_path)
    (torn / 'x').mkdir()
    (torn / 'x' / 'study.json').write_text('{')
    for result, message in (
        (self.run_report(empty), 'holds no study'),
        (self.run_report(torn), 'torn, or of another version; run the study'),
        (self.run_study('--name=nothing'), 'choose one of baselines'),
        (self.run_study('--data=nothing'), 'choose one of defaults'),
    ):
      self.assertEqual(result.returncode, 1)
      self.assertLen(result.stderr.strip().splitlines(), 1, result.stderr)
      self.assertIn(message, result.stderr)


if __name__ == '__main__':
  absltest.main()
