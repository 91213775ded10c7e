"""Calibration of a trained run, by its binary."""

import json
import pathlib
import shutil
import tempfile

from absl.testing import absltest
import numpy as np
import pytest

from experiments import pipeline
from limaml_jax import config as config_lib
from limaml_jax import overrides
from limaml_jax.evaluation import scores as scores_lib
from limaml_jax.export import calibration as calibration_lib
from limaml_jax.training import run_config
from tests.experiments import commands

_SMALL = commands.SMALL_SETTINGS | {
    'protocol.new_entity_fraction': 0.0,
    'outer_loop.num_epochs': 3,
    'outer_loop.learning_rate': 0.05,
}


def _write_log(directory: pathlib.Path) -> None:
  """Writes a log of items that are liked by many or by few."""
  commands.write_log(directory)
  path = directory / 'ml-100k.inter'
  header, *events = path.read_text().splitlines()
  rng = np.random.default_rng(0)
  for number, event in enumerate(events):
    user, item, _, time = event.split('\t')
    liked = rng.random() < (0.8 if int(item) % 2 else 0.2)
    events[number] = f'{user}\t{item}\t{5 if liked else 1}\t{time}'
  path.write_text('\n'.join([header, *events]) + '\n')


@pytest.mark.slow
class CalibrateTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.dir = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.dir)
    _write_log(cls.dir / 'raw')
    for phase, name in (('validation', 'twin'), ('test', 'run')):
      config = overrides.override(
          config_lib.Config(), _SMALL | {'protocol.phase': phase}
      )
      tasks = cls.dir / phase
      pipeline.prepare(config, cls.dir / 'raw', tasks, lambda *args: None)
      pipeline.train(config, pipeline.load(tasks), cls.dir / name)
    shutil.copytree(cls.dir / 'twin', cls.dir / 'other')
    path = cls.dir / 'other' / run_config.CONFIG_FILE
    settings = json.loads(path.read_text())
    settings['inner_loop.learning_rate'] = 0.5
    path.write_text(json.dumps(settings))

  def calibrate(self, twin, data='validation'):
    return commands.run(
        'calibrate',
        f'--data={self.dir / data}',
        f'--twin={self.dir / twin}',
        f'--workdir={self.dir / "run"}',
    )

  def test_run_is_served_with_what_fits_its_twin(self):
    data = pipeline.load(self.dir / 'test')
    plain = pipeline.score_run(
        data, self.dir / 'run', self.dir / 'plain.parquet'
    )
    result = self.calibrate('twin')
    self.assertEqual(result.returncode, 0, result.stderr[-2000:])
    facts = json.loads(result.stdout)
    self.assertLess(facts['log_loss_after'], facts['log_loss_before'])
    self.assertAlmostEqual(facts['predicted_over_observed_after'], 1, delta=0.1)
    window = scores_lib.read(self.dir / 'twin' / 'calibration.parquet')
    self.assertEqual(facts['rows'], window.score.size)
    found = calibration_lib.read(self.dir / 'run')
    self.assertEqual(found, calibration_lib.fit(window.score, window.label))
    served = pipeline.score_run(
        data, self.dir / 'run', self.dir / 'served.parquet'
    )
    np.testing.assert_allclose(
        served.score, calibration_lib.apply(found, plain.score), atol=1e-6
    )
    # Once more gives the same: what is there is not fitted on top.
    again = json.loads(self.calibrate('twin').stdout)
    self.assertEqual(again['scale'], facts['scale'])

  def test_refuses_a_twin_that_is_none(self):
    for twin, data, reason in (
        ('other', 'validation', 'differs .* in inner_loop.learning_rate'),
        ('run', 'validation', 'protocol.phase is not validation'),
        ('nowhere', 'validation', 'config.json: not found'),
        ('twin', 'test', 'on the validation window alone'),
    ):
      result = self.calibrate(twin, data)
      self.assertEqual(result.returncode, 1)
      self.assertLen(result.stderr.strip().splitlines(), 1)
      self.assertRegex(result.stderr, reason)


if __name__ == '__main__':
  absltest.main()
