"""Tests for intervals by resampling entities."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import sklearn.metrics

from limaml_jax import errors
from limaml_jax.evaluation import bootstrap
from limaml_jax.evaluation import ranking
from limaml_jax.evaluation import scores as scores_lib


def make_scores(entity, label, score, day=None):
  size = len(entity)
  zeros = np.zeros(size, np.int64)
  return scores_lib.Scores(
      entity=np.asarray(entity),
      day=zeros if day is None else np.asarray(day),
      label=np.asarray(label, np.float32),
      score=np.asarray(score, float),
      support_size=zeros,
      age_seconds=zeros,
      status=np.zeros(size, np.uint8),
  )


def make_random(num_entities=60, rows_per_entity=20, signal=1.0, seed=0):
  """Rows that depend on each other through their entity's level."""
  rng = np.random.default_rng(seed)
  entity = np.repeat(np.arange(num_entities), rows_per_entity)
  level = rng.normal(size=num_entities)[entity]
  label = rng.random(entity.size) < 1.0 / (1.0 + np.exp(-level))
  noise = rng.normal(size=entity.size)
  score = 1.0 / (1.0 + np.exp(-(signal * level + noise)))
  return make_scores(entity, label, np.round(score, 2))


class WeightedRocAucTest(parameterized.TestCase):

  @parameterized.named_parameters(
      # Positive .5 (weight 2) ties with a negative of weight 3 and beats one
      # of weight 1; positive .1 (weight 1) loses: 2 * (1.5 + 1) / (3 * 4).
      ('ties_count_half', [2.0, 3.0, 1.0, 1.0], 5 / 12),
      # The tied negative is gone: 2 * 1 / (3 * 1).
      ('weight_zero_is_absence', [2.0, 0.0, 1.0, 1.0], 2 / 3),
  )
  def test_closed_form(self, weights, expected):
    groups = ranking.tie_groups(
        np.array([0.5, 0.5, 0.3, 0.1]), np.array([1, 0, 0, 1])
    )
    weights = np.array(weights)[groups.order]
    self.assertAlmostEqual(ranking.roc_auc(groups, weights), expected)

  def test_equals_scikit_learn(self):
    rng = np.random.default_rng(3)
    scores, labels = np.round(rng.random(500), 1), rng.integers(2, size=500)
    weights = rng.integers(4, size=500).astype(float)
    groups = ranking.tie_groups(scores, labels)
    self.assertAlmostEqual(
        ranking.roc_auc(groups, weights[groups.order]),
        sklearn.metrics.roc_auc_score(labels, scores, sample_weight=weights),
        places=12,
    )


class IntervalsTest(absltest.TestCase):

  def test_equals_repeating_the_rows_of_drawn_entities(self):
    rows = make_random(num_entities=8, rows_per_entity=12)
    actual = bootstrap.intervals(
        rows, np.random.default_rng(5), num_replicates=20
    )
    rng = np.random.default_rng(5)
    roc_aucs, gaucs = [], []
    for _ in range(20):
      drawn = rng.integers(8, size=8)
      picked = [np.flatnonzero(rows.entity == entity) for entity in drawn]
      repeated = np.concatenate(picked)
      roc_aucs.append(sklearn.metrics.roc_auc_score(
          rows.label[repeated], rows.score[repeated]
      ))
      # A copy of an entity is an entity of its own, and all have 12 rows.
      gaucs.append(np.mean([
          sklearn.metrics.roc_auc_score(rows.label[i], rows.score[i])
          for i in picked
          if np.unique(rows.label[i]).size == 2
      ]))
    np.testing.assert_allclose(
        actual.roc_auc, np.percentile(roc_aucs, [2.5, 97.5]), rtol=1e-12
    )
    np.testing.assert_allclose(
        actual.gauc, np.percentile(gaucs, [2.5, 97.5]), rtol=1e-12
    )

  def test_same_generator_gives_same_interval(self):
    rows = make_random()
    first, second = (
        bootstrap.intervals(rows, np.random.default_rng(1), num_replicates=30)
        for _ in range(2)
    )
    self.assertEqual(first, second)

  def test_order_of_rows_is_irrelevant(self):
    rows = make_random()
    order = np.random.default_rng(2).permutation(rows.entity.size)
    first, second = (
        bootstrap.intervals(part, np.random.default_rng(1), num_replicates=30)
        for part in (rows, scores_lib.select(rows, order))
    )
    np.testing.assert_allclose(first, second, rtol=1e-12)

  def test_copies_of_rows_add_no_certainty(self):
    rows = make_random(rows_per_entity=5)
    once, four_times = (
        bootstrap.intervals(part, np.random.default_rng(1), num_replicates=50)
        for part in (rows, scores_lib.concatenate([rows] * 4))
    )
    np.testing.assert_allclose(once, four_times, rtol=1e-12)

  def test_undefined_for_one_class(self):
    rows = make_scores([1, 2, 3], [1, 1, 1], [0.1, 0.2, 0.3])
    actual = bootstrap.intervals(rows, np.random.default_rng(1))
    self.assertEqual(actual, bootstrap.Intervals(None, None))

  def test_undefined_without_two_entities(self):
    for size in (0, 4):
      rows = make_scores([1] * size, [0, 1] * (size // 2), [0.5] * size)
      actual = bootstrap.intervals(rows, np.random.default_rng(1))
      self.assertEqual(actual, bootstrap.Intervals(None, None))


class PairedDifferenceTest(parameterized.TestCase):

  def test_of_a_variant_with_itself_is_zero(self):
    rows = make_random()
    actual = bootstrap.paired_difference(rows, rows, np.random.default_rng(1))
    self.assertEqual(actual.roc_auc, 0.0)
    self.assertEqual(actual.interval, bootstrap.Interval(0.0, 0.0))

  def test_is_first_minus_second(self):
    # ROC-AUC 1 and 0 of the first and second, whatever is drawn.
    entity, label = [1, 1, 2, 2], [0, 1, 0, 1]
    actual = bootstrap.paired_difference(
        make_scores(entity, label, [0.2, 0.8, 0.2, 0.8]),
        make_scores(entity, label, [0.8, 0.2, 0.8, 0.2]),
        np.random.default_rng(1),
    )
    self.assertEqual(actual.roc_auc, 1.0)
    self.assertEqual(actual.interval, bootstrap.Interval(1.0, 1.0))

  def test_is_narrower_than_independent_intervals(self):
    first = make_random()
    noise = np.random.default_rng(9).normal(0, 0.02, first.score.size)
    second = first._replace(score=np.clip(first.score + noise, 0, 1))
    rng = np.random.default_rng(1)
    alone = bootstrap.intervals(first, rng).roc_auc
    paired = bootstrap.paired_difference(first, second, rng).interval
    self.assertLess(paired.high - paired.low, 0.5 * (alone.high - alone.low))

  def test_undefined_for_one_class(self):
    rows = make_scores([1, 2, 3], [0, 0, 0], [0.1, 0.2, 0.3])
    actual = bootstrap.paired_difference(rows, rows, np.random.default_rng(1))
    self.assertEqual(actual, bootstrap.Difference(None, None))

  @parameterized.named_parameters(
      ('entity', {'entity': np.array([1, 9])}, 'row 1: entity differs'),
      ('day', {'day': np.array([4, 0])}, 'row 0: day differs'),
      ('label', {'label': np.array([0, 0])}, 'row 1: label differs'),
  )
  def test_refuses_other_rows(self, columns, message):
    rows = make_scores([1, 2], [0, 1], [0.5, 0.5])
    with self.assertRaisesRegex(errors.InputError, message):
      bootstrap.paired_difference(
          rows, rows._replace(**columns), np.random.default_rng(1)
      )

  def test_refuses_fewer_rows(self):
    rows = make_scores([1, 2], [0, 1], [0.5, 0.5])
    part = scores_lib.select(rows, np.array([True, False]))
    with self.assertRaisesRegex(errors.InputError, 'cannot pair 2 rows with 1'):
      bootstrap.paired_difference(rows, part, np.random.default_rng(1))


if __name__ == '__main__':
  absltest.main()
