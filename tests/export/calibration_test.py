import json
import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax import errors
from limaml_jax.bundle import columns as columns_lib
from limaml_jax.export import calibration as calibration_lib
from limaml_jax.export import program
from limaml_jax.export import scorer as scorer_lib
from tests.export import scorer_test


def draw(scale, shift, size=200_000):
  """Returns scores, and labels of which they are too sure or not enough."""
  rng = np.random.default_rng(0)
  logits = rng.normal(0, 2, size)
  probability = 1 / (1 + np.exp(-(scale * logits + shift)))
  return 1 / (1 + np.exp(-logits)), rng.random(size) < probability


class FitTest(parameterized.TestCase):

  @parameterized.parameters((1.0, 0.0), (0.5, -1.0), (2.0, 0.3), (0.1, 3.0))
  def test_finds_scale_and_shift(self, scale, shift):
    found = calibration_lib.fit(*draw(scale, shift))
    np.testing.assert_allclose(found, (scale, shift), atol=0.03)

  def test_finds_a_scale_that_is_far(self):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 0.02, 50_000)
    labels = rng.random(50_000) < 1 / (1 + np.exp(-100 * logits))
    found = calibration_lib.fit(1 / (1 + np.exp(-logits)), labels)
    self.assertAlmostEqual(float(found.scale), 100, delta=4)

  def test_predicts_as_much_as_is_observed(self):
    scores, labels = draw(0.5, -1.0)
    found = calibration_lib.fit(scores, labels)
    calibrated = calibration_lib.apply(found, scores)
    # Smoothed labels alone keep the two apart.
    self.assertAlmostEqual(calibrated.mean(), labels.mean(), places=4)
    self.assertGreater(abs(scores.mean() - labels.mean()), 0.05)

  def test_scores_that_tell_every_label_stay_finite(self):
    scores = np.repeat([0.1, 0.9], 10)
    found = calibration_lib.fit(scores, scores > 0.5)
    self.assertTrue(np.all(np.isfinite(found)))
    # One in twelve is as sure as ten of a kind can be.
    calibrated = calibration_lib.apply(found, scores)
    np.testing.assert_allclose(calibrated[[0, -1]], [1 / 12, 11 / 12], 1e-5)

  @parameterized.named_parameters(
      ('one_label', [0.1, 0.9], [1, 1], 'both labels'),
      ('one_score', [0.5, 0.5], [0, 1], 'more than one score'),
      ('no_rows', [], [], 'both labels'),
      ('worse_than_chance', [0.9, 0.8, 0.2, 0.1], [0, 0, 1, 1], 'no better'),
  )
  def test_refuses(self, scores, labels, reason):
    with self.assertRaisesRegex(errors.InputError, reason):
      calibration_lib.fit(np.array(scores), np.array(labels))


class FileTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.dir = pathlib.Path(self.create_tempdir().full_path)

  def test_what_was_written_is_read(self):
    given = calibration_lib.Calibration(np.float32(0.9), np.float32(-0.1))
    calibration_lib.write(self.dir, given, rows=7)
    self.assertEqual(calibration_lib.read(self.dir), given)
    content = json.loads((self.dir / calibration_lib.FILE).read_text())
    self.assertEqual(content['rows'], 7)

  def test_without_a_file_nothing_changes(self):
    self.assertEqual(calibration_lib.read(self.dir), (1.0, 0.0))

  def test_removes(self):
    given = calibration_lib.Calibration(np.float32(0.9), np.float32(-0.1))
    calibration_lib.write(self.dir, given)
    calibration_lib.remove(self.dir)
    calibration_lib.remove(self.dir)
    self.assertEqual(calibration_lib.read(self.dir), (1.0, 0.0))

  def test_a_torn_file_is_one_line(self):
    for text in ('{"scale": 1', '{"scale": 1}', '{"scale": "x", "shift": 0}'):
      (self.dir / calibration_lib.FILE).write_text(text)
      with self.assertRaisesRegex(errors.InputError, 'torn.*again$'):
        calibration_lib.read(self.dir)


class ServedTest(absltest.TestCase):

  def test_scores_are_calibrated_and_ranks_stay(self):
    scorer, expected = scorer_test.make_scorer()
    given = calibration_lib.Calibration(np.float32(0.5), np.float32(-1))
    calibrated = scorer_lib.Scorer(scorer._half._replace(calibration=given))
    vectors, features = scorer_test.make_rows()
    scores = calibrated.score({'user': vectors}, features)
    # Logits of scores near 0 and 1 are lost in 32 bits.
    known = np.abs(expected - 0.5) < 0.499
    np.testing.assert_allclose(
        scores[known],
        calibration_lib.apply(given, expected[known]),
        atol=1e-5,
    )
    self.assertGreater(known.mean(), 0.5)
    self.assertGreater(np.abs(scores - expected).max(), 0.1)

  def test_is_a_weight_and_no_part_of_the_program(self):
    half = scorer_test.make_scorer()[0]._half
    given = calibration_lib.Calibration(np.float32(0.5), np.float32(-1))
    columns = columns_lib.Columns(half.specs)
    exported = [
        program.export(one, columns, entity_type='user', dimension=4)
        for one in (half, half._replace(calibration=given))
    ]
    self.assertEqual(exported[0], exported[1])
    weights = program.flatten(half._replace(calibration=given))
    self.assertEqual(weights['2/scale'], np.float32(0.5))
    self.assertEqual(weights['2/shift'], np.float32(-1))


if __name__ == '__main__':
  absltest.main()
