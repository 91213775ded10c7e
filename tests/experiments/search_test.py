"""The search, by its binary, on a small log."""

import json
import pathlib

from absl.testing import absltest
import pytest

from tests.experiments import commands


class SearchTest(absltest.TestCase):

  @pytest.mark.slow
  def test_finds_resumes_and_mixes_no_settings(self):
    root = pathlib.Path(self.create_tempdir().full_path)
    commands.write_log(root / 'raw')
    flags = [
        '--config=experiments/configs/ml100k.py',
        f'--data_dir={root / "raw"}',
        f'--workdir={root / "work"}',
        '--variant=global',
        '--trials=2',
        '--config.protocol.new_entity_fraction=0.0',
        *commands.SMALL[:-1],  # Epochs are searched.
    ]
    result = commands.run('search', *flags)
    self.assertEqual(result.returncode, 0, result.stderr[-2000:])
    path = root / 'work' / 'global.json'
    record = json.loads(path.read_text())
    self.assertEqual(record['trainings'], 2)
    self.assertEqual(record['planned_trainings'], 2)
    qualities = [trial['roc_auc'] for trial in record['trials']]
    self.assertEqual(qualities, sorted(qualities, reverse=True))
    again = commands.run('search', *flags)
    self.assertEqual(again.returncode, 0, again.stderr[-2000:])
    resumed = json.loads(path.read_text())
    self.assertEqual(resumed['trials'], record['trials'])
    self.assertGreater(resumed['seconds'], record['seconds'])
    # Trials of other settings are no failed trials of these.
    other = commands.run('search', *flags, '--config.training.log_every=7')
    self.assertEqual(other.returncode, 1)
    self.assertIn('log_every was 20, is 7', other.stderr)


if __name__ == '__main__':
  absltest.main()
