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
    (cls.out,) = (cls.dir / 'studies').glob(f'{_NAME}-ml100k-*')

  @classmethod
  def run_study(cls):
    return commands.run(
        'study',
        f'--name={_NAME}',
        '--data=ml100k',
        f'--data_dir={cls.dir / "raw"}',
        f'--workdir={cls.dir / "studies"}',
        commands.CACHE,
        '--seeds=1',
        *commands.SMALL,
    )

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
    result = commands.run('report', f'--workdir={self.dir / "studies"}')
    self.assertEqual(result.returncode, 0, result.stderr)
    text = (self.dir / 'studies' / 'report.html').read_text()
    self.assertIn('Gain by number of events: ml100k-', text)
    self.assertIn(f'href="#{self.out.name}"', text)
    self.assertNotIn('src=', text)


if __name__ == '__main__':
  absltest.main()
