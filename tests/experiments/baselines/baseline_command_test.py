import json
import pathlib

from absl.testing import absltest

from limaml_jax.evaluation import scores as scores_lib
from tests.experiments import commands


class BaselineTest(absltest.TestCase):

  def test_scores_a_log_and_refuses_an_unknown_name(self):
    root = pathlib.Path(self.create_tempdir().full_path)
    commands.write_log(root / 'raw')
    prepared = commands.run(
        'prepare',
        f'--data_dir={root / "raw"}',
        f'--output={root / "tasks"}',
    )
    self.assertEqual(prepared.returncode, 0, prepared.stderr)
    data = (f'--data={root / "tasks"}', f'--workdir={root / "out"}')
    done = commands.run('baseline', '--name=glmix', *data)
    self.assertEqual(done.returncode, 0, done.stderr)
    printed = json.loads(done.stdout)
    scores = scores_lib.read(root / 'out' / 'glmix_0.parquet')
    self.assertEqual(printed['num_rows'], scores.label.size)
    self.assertIn('roc_auc', printed)
    self.assertIn('cohorts', printed)
    wrong = commands.run('baseline', '--name=tree', *data)
    self.assertEqual(wrong.returncode, 1)
    self.assertRegex(wrong.stderr, r'^error: --name=tree: unknown; .*trees')


if __name__ == '__main__':
  absltest.main()
