"""Intervals of studies: paired, by entity, seeds averaged in each draw."""

from absl.testing import absltest
import numpy as np

from experiments.study import statistics
from limaml_jax import errors
from limaml_jax.evaluation import bootstrap
from limaml_jax.evaluation import scores as scores_lib


def make_scores(seed, *, signal=1.0, num_entities=30):
  rng = np.random.default_rng(7)
  entity = np.repeat(np.arange(num_entities), 10)
  label = rng.integers(2, size=entity.size)
  noise = np.random.default_rng(seed).random(entity.size)
  zeros = np.zeros(entity.size, np.int64)
  return scores_lib.Scores(
      entity=entity,
      day=zeros,
      label=label.astype(np.float32),
      score=(noise + signal * label) / (1 + signal),
      support_size=zeros,
      age_seconds=zeros,
      status=zeros.astype(np.uint8),
  )


class MeasuredTest(absltest.TestCase):

  def test_one_seed_is_the_paired_difference(self):
    first, second = make_scores(0, signal=0.4), make_scores(1, signal=0.2)
    measured = statistics.Measured({'a': [first], 'b': [second]})
    found = measured.difference('a', 'b')
    expected = bootstrap.paired_difference(
        first, second, np.random.default_rng(0), num_replicates=500
    )
    self.assertAlmostEqual(found.value, expected.roc_auc, places=12)
    np.testing.assert_allclose(found.interval, expected.interval)

  def test_value_is_the_mean_over_seeds_and_lists_them(self):
    parts = [make_scores(seed, signal=0.3) for seed in (0, 1)]
    figure = statistics.Measured({'a': parts}).figure('a')
    self.assertLen(figure.seeds, 2)
    self.assertNotEqual(*figure.seeds)
    self.assertAlmostEqual(figure.value, np.mean(figure.seeds), places=12)
    self.assertBetween(figure.value, *figure.interval)

  def test_a_run_against_itself_has_no_interval_to_speak_of(self):
    measured = statistics.Measured({'a': [make_scores(0)]})
    found = measured.difference('a', 'a')
    self.assertEqual(found.value, 0.0)
    self.assertEqual(tuple(found.interval), (0.0, 0.0))

  def test_averaging_seeds_in_a_draw_narrows_what_seeds_add(self):
    one = [make_scores(0, signal=0.1)]
    many = [make_scores(seed, signal=0.1) for seed in range(8)]
    width = lambda parts: np.ptp(
        statistics.Measured({'a': parts}).figure('a').interval
    )
    self.assertLess(width(many), 0.8 * width(one))

  def test_seeds_that_differ_widen_the_interval(self):
    alike = [make_scores(0, signal=0.3)] * 4
    apart = [make_scores(0, signal=s) for s in (0.1, 0.2, 0.4, 0.5)]
    width = lambda parts: np.ptp(
        statistics.Measured({'a': parts}).figure('a').interval
    )
    self.assertGreater(width(apart), 1.2 * width(alike))

  def test_seeds_are_drawn_alike_for_all_runs(self):
    parts = [make_scores(0, signal=s) for s in (0.1, 0.2, 0.4, 0.5)]
    measured = statistics.Measured({'a': parts, 'b': list(parts)})
    self.assertEqual(tuple(measured.difference('a', 'b').interval), (0.0, 0.0))

  def test_a_run_may_lack_a_seed(self):
    parts = [make_scores(seed, signal=0.3) for seed in range(3)]
    measured = statistics.Measured({'a': parts, 'b': parts[:2]})
    self.assertLen(measured.difference('a', 'a').seeds, 3)
    self.assertLen(measured.figure('b').seeds, 2)

  def test_mask_leaves_rows_out_of_everything(self):
    rows = make_scores(0)
    mask = rows.entity < 5
    part = scores_lib.select(rows, mask)
    whole = statistics.Measured({'a': [rows]}, mask)
    alone = statistics.Measured({'a': [part]})
    self.assertEqual(whole.num_rows, 50)
    self.assertEqual(whole.num_entities, 5)
    self.assertEqual(whole.figure('a'), alone.figure('a'))

  def test_other_metrics_are_there(self):
    measured = statistics.Measured({'a': [make_scores(0)]})
    self.assertGreater(measured.figure('a', 'gauc').value, 0.5)
    self.assertGreater(measured.figure('a', 'log_loss').value, 0.0)

  def test_different_rows_are_refused(self):
    first = make_scores(0)
    second = first._replace(label=1 - first.label)
    with self.assertRaisesRegex(errors.InputError, 'label differs'):
      statistics.Measured({'a': [first], 'b': [second]})

  def test_one_class_is_undefined(self):
    rows = make_scores(0)
    rows = rows._replace(label=np.ones_like(rows.label))
    figure = statistics.Measured({'a': [rows]}).figure('a')
    self.assertIsNone(figure.value)
    self.assertIsNone(figure.interval)
    self.assertEqual(figure.seeds, (None,))


if __name__ == '__main__':
  absltest.main()
