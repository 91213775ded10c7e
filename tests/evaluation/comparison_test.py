"""Tests for the comparison of variants by every metric."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax import errors
from limaml_jax.evaluation import comparison
from limaml_jax.evaluation import metrics
from limaml_jax.evaluation import scores as scores_lib


def make_scores(entity, label, score):
  zeros = np.zeros(len(entity), np.int64)
  return scores_lib.Scores(
      entity=np.asarray(entity),
      day=zeros,
      label=np.asarray(label, np.float32),
      score=np.asarray(score, float),
      support_size=zeros,
      age_seconds=zeros,
      status=zeros.astype(np.uint8),
  )


def make_random(seed=0, num_entities=20, signal=1.0):
  rng = np.random.default_rng(seed)
  each = np.arange(num_entities)
  entity = np.repeat(each, 8 + each % 7)
  level = np.random.default_rng(9).normal(size=num_entities)[entity]
  label = np.random.default_rng(8).random(entity.size) < 1 / (1 + np.exp(level))
  noise = rng.normal(size=entity.size)
  score = 1 / (1 + np.exp(signal * level + noise))
  return make_scores(entity, label, np.round(score, 2))


def compare(*variants, num_replicates=50):
  return comparison.compare(
      variants, np.random.default_rng(0), num_replicates=num_replicates
  )


class CompareTest(parameterized.TestCase):

  @parameterized.parameters(
      ('roc_auc', metrics.RocAuc),
      ('gauc', metrics.Gauc),
      ('normalized_entropy', metrics.NormalizedEntropy),
      ('calibration', metrics.Calibration),
      ('gauc_by_refresh', metrics.Gauc),
      ('log_loss', metrics.LogLoss),
  )
  def test_values_are_those_of_the_metrics(self, name, metric):
    rows = make_random()
    rows = rows._replace(day=np.arange(rows.entity.size) % 3)
    columns = [rows.score, rows.label]
    if metric is metrics.Gauc:
      columns.append(
          rows.entity if name == 'gauc' else scores_lib.refresh_groups(rows)
      )
    self.assertAlmostEqual(
        compare(rows).variants[0][name].value,
        metric.from_scores(*columns).compute(),
        places=12,
    )

  def test_a_variant_differs_from_itself_by_exactly_nothing(self):
    found = compare(make_random(), make_random())
    for name in comparison.METRICS:
      self.assertEqual(found.difference[name], (0.0, (0.0, 0.0)), name)

  def test_difference_is_the_second_minus_the_first(self):
    # Entity 0 alone has both labels: the first ranks it wrong, the second not.
    entity, label = [0, 0, 1], [1, 0, 0]
    found = compare(
        make_scores(entity, label, [0.2, 0.4, 0.1]),
        make_scores(entity, label, [0.6, 0.4, 0.1]),
    )
    self.assertEqual(found.difference['gauc'].value, 1.0 - 0.0)
    # Scores sum to .7 and 1.1, over one positive.
    self.assertAlmostEqual(found.difference['calibration'].value, 0.4)
    self.assertAlmostEqual(
        found.difference['log_loss'].value, (np.log(0.2) - np.log(0.6)) / 3
    )

  def test_tied_scores_count_half(self):
    tied = make_scores([0, 0, 1, 1], [1, 0, 1, 0], [0.5] * 4)
    found = compare(tied)
    self.assertEqual(found.variants[0]['roc_auc'].value, 0.5)
    self.assertEqual(found.variants[0]['gauc'].value, 0.5)

  def test_intervals_are_those_of_repeated_entities(self):
    rows = make_random(num_entities=6)
    found = compare(rows, num_replicates=40)
    rng, values = np.random.default_rng(0), []
    for _ in range(40):
      drawn = rng.integers(6, size=6)
      picked = np.concatenate([np.flatnonzero(rows.entity == n) for n in drawn])
      state = metrics.NormalizedEntropy.from_scores(
          rows.score[picked], rows.label[picked]
      )
      values.append(state.compute())
    np.testing.assert_allclose(
        found.variants[0]['normalized_entropy'].interval,
        np.percentile(values, [2.5, 97.5]),
        rtol=1e-9,
    )

  def test_a_repeated_entity_repeats_all_its_refreshes(self):
    # Entity 0: refresh 0 ranked right (2 rows), refresh 1 wrong (2 rows);
    # entity 1: one refresh, right (2 rows).
    rows = make_scores(
        [0, 0, 0, 0, 1, 1], [1, 0, 1, 0, 0, 1], [0.6, 0.5, 0.1, 0.9, 0.3, 0.4]
    )._replace(day=np.array([0, 0, 1, 1, 1, 1]))
    summed = comparison.Summed(rows, rows.entity, 2)
    place = comparison.METRICS.index('gauc_by_refresh')
    # (2 * 1 + 2 * 0) / 4; with entity 1 twice (2 + 0 + 2 * 2) / 8.
    self.assertEqual(summed.values(np.array([1.0, 0.0]))[place], 0.5)
    self.assertEqual(summed.values(np.array([1.0, 2.0]))[place], 0.75)

  def test_both_variants_are_weighed_by_the_same_draws(self):
    first, second = make_random(0), make_random(1)
    found = compare(first, second)
    low, high = found.difference['roc_auc'].interval
    widths = [
        figures['roc_auc'].interval.high - figures['roc_auc'].interval.low
        for figures in found.variants
    ]
    self.assertLess(high - low, 0.8 * np.hypot(*widths))

  def test_a_single_class_leaves_ranking_undefined(self):
    found = compare(make_scores([0, 1], [1, 1], [0.5, 0.6]))
    for name in ('roc_auc', 'gauc', 'normalized_entropy'):
      self.assertEqual(found.variants[0][name], (None, None), name)
    self.assertAlmostEqual(found.variants[0]['calibration'].value, 0.55)

  def test_one_entity_has_no_interval(self):
    found = compare(make_scores([0, 0], [1, 0], [0.5, 0.6]))
    self.assertEqual(found.variants[0]['roc_auc'], (0.0, None))

  def test_refuses_other_rows(self):
    rows = make_random()
    with self.assertRaisesRegex(errors.InputError, 'label differs'):
      compare(rows, rows._replace(label=1 - rows.label))


if __name__ == '__main__':
  absltest.main()
