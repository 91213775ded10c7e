"""Tests for metrics: closed forms, scikit-learn, and merging."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np
import sklearn.metrics

from limaml_jax.evaluation import metrics

METRICS = (
    ('roc_auc', metrics.RocAuc),
    ('gauc', metrics.Gauc),
    ('log_loss', metrics.LogLoss),
    ('normalized_entropy', metrics.NormalizedEntropy),
    ('calibration', metrics.Calibration),
)


def make_columns(num_rows=400, seed=0):
  """Rows with many ties: scores have one decimal."""
  rng = np.random.default_rng(seed)
  scores = np.round(rng.random(num_rows), 1)
  labels = (rng.random(num_rows) < 0.2 + 0.5 * scores).astype(np.float32)
  return scores, labels, rng.integers(40, size=num_rows)


def from_columns(metric, columns):
  columns = columns if metric is metrics.Gauc else columns[:2]
  return metric.from_scores(*columns)


class RocAucTest(parameterized.TestCase):

  @parameterized.named_parameters(
      # Of the 2 x 2 pairs: 0.9 beats both, 0.3 beats 0.1 and loses to 0.4.
      ('ranks', [0.1, 0.4, 0.3, 0.9], [0, 0, 1, 1], 3 / 4),
      # 0.9 beats both, 0.4 beats 0.1 and ties with 0.4.
      ('ties_count_half', [0.1, 0.4, 0.4, 0.9], [0, 0, 1, 1], 3.5 / 4),
      ('one_score_is_half', [0.5, 0.5, 0.5], [0, 1, 0], 0.5),
      ('worst_is_zero', [0.2, 0.8], [1, 0], 0.0),
      ('undefined_without_negatives', [0.1, 0.4], [1, 1], None),
      ('undefined_without_positives', [0.1, 0.4], [0, 0], None),
      ('undefined_without_rows', [], [], None),
  )
  def test_closed_form(self, scores, labels, expected):
    self.assertEqual(metrics.RocAuc.from_scores(scores, labels).compute(),
                     expected)

  def test_equals_scikit_learn(self):
    scores, labels, _ = make_columns()
    self.assertAlmostEqual(
        metrics.RocAuc.from_scores(scores, labels).compute(),
        sklearn.metrics.roc_auc_score(labels, scores),
        places=12,
    )


class GaucTest(absltest.TestCase):

  def test_weighs_entities_by_rows(self):
    # Entity 7: 2 rows, ROC-AUC 1. Entity 3: positives .2 and .6, negatives .4
    # and .5, so 2 of 4 pairs. Weighted: (2 * 1 + 4 * 0.5) / 6.
    gauc = metrics.Gauc.from_scores(
        [0.9, 0.2, 0.4, 0.1, 0.6, 0.5], [1, 1, 0, 0, 1, 0], [7, 3, 3, 7, 3, 3]
    )
    self.assertAlmostEqual(gauc.compute(), 4 / 6)

  def test_leaves_out_entities_of_one_class(self):
    # Entity 1 has positives only; entity 2 ranks its pair wrongly.
    gauc = metrics.Gauc.from_scores(
        [0.9, 0.8, 0.7, 0.3, 0.4], [1, 1, 1, 1, 0], [1, 1, 1, 2, 2]
    )
    self.assertEqual(gauc.compute(), 0.0)

  def test_ties_count_half_inside_an_entity(self):
    # Entity 1 ties. Entity 2 holds the same score and must not be drawn in.
    gauc = metrics.Gauc.from_scores(
        [0.5, 0.5, 0.5, 0.6], [1, 0, 0, 1], [1, 1, 2, 2]
    )
    self.assertEqual(gauc.compute(), (2 * 0.5 + 2 * 1.0) / 4)

  def test_equals_loop_over_entities(self):
    scores, labels, entities = make_columns()
    total, weight = 0.0, 0
    for entity in np.unique(entities):
      mask = entities == entity
      if np.unique(labels[mask]).size == 2:
        auc = sklearn.metrics.roc_auc_score(labels[mask], scores[mask])
        total += np.sum(mask) * auc
        weight += np.sum(mask)
    self.assertGreater(weight, 100)
    self.assertAlmostEqual(
        metrics.Gauc.from_scores(scores, labels, entities).compute(),
        total / weight,
        places=12,
    )

  def test_undefined_without_a_mixed_entity(self):
    gauc = metrics.Gauc.from_scores([0.1, 0.9], [0, 1], [1, 2])
    self.assertIsNone(gauc.compute())


class LossTest(parameterized.TestCase):

  def test_log_loss_equals_scikit_learn(self):
    scores, labels, _ = make_columns()
    scores = np.clip(scores, 0.01, 0.99)
    self.assertAlmostEqual(
        metrics.LogLoss.from_scores(scores, labels).compute(),
        sklearn.metrics.log_loss(labels, scores),
        places=12,
    )

  @parameterized.named_parameters(('zero', 0.0, 1), ('one', 1.0, 0))
  def test_saturated_score_costs_16_nats(self, score, label):
    # -log(1e-7) = 7 log(10) = 16.118.
    loss = metrics.LogLoss.from_scores([score], [label]).compute()
    self.assertAlmostEqual(loss, 7 * np.log(10), places=6)

  def test_label_mean_has_normalized_entropy_one(self):
    entropy = metrics.NormalizedEntropy.from_scores([0.25] * 4, [0, 1, 0, 0])
    self.assertAlmostEqual(entropy.compute(), 1.0)

  def test_normalized_entropy_divides_by_entropy_of_mean(self):
    # Loss is log 2 whatever the label; the labels' mean 1/4 has the entropy
    # 0.25 log 4 + 0.75 log(4/3) = 2 log 2 - 0.75 log 3.
    entropy = metrics.NormalizedEntropy.from_scores([0.5] * 4, [0, 1, 0, 0])
    expected = np.log(2) / (2 * np.log(2) - 0.75 * np.log(3))
    self.assertAlmostEqual(entropy.compute(), expected)

  def test_normalized_entropy_undefined_for_one_class(self):
    entropy = metrics.NormalizedEntropy.from_scores([0.5, 0.5], [1, 1])
    self.assertIsNone(entropy.compute())

  def test_calibration_divides_predicted_by_observed(self):
    # (0.5 + 0.7 + 0.3) / 1.
    calibration = metrics.Calibration.from_scores([0.5, 0.7, 0.3], [0, 1, 0])
    self.assertAlmostEqual(calibration.compute(), 1.5)

  def test_calibration_undefined_without_positives(self):
    self.assertIsNone(metrics.Calibration.from_scores([0.5], [0]).compute())


class MergeTest(parameterized.TestCase):

  @parameterized.named_parameters(*METRICS)
  def test_parts_in_any_order_equal_the_whole(self, metric):
    columns = make_columns()
    parts = [
        from_columns(metric, [column[i:j] for column in columns])
        for i, j in ((0, 7), (7, 7), (7, 250), (250, 400))
    ]
    whole = from_columns(metric, columns).compute()
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
      merged = functools.reduce(metric.merge, [parts[i] for i in order])
      self.assertAlmostEqual(merged.compute(), whole, places=12)

  @parameterized.named_parameters(*METRICS)
  def test_state_is_a_pytree(self, metric):
    state = from_columns(metric, make_columns())
    self.assertLen(jax.tree.leaves(state), len(state))

  @parameterized.named_parameters(
      ('nan', [float('nan')], [1], 'probabilities'),
      ('logit', [1.5], [1], 'probabilities'),
      ('rating', [0.5], [4], '0 or 1'),
      ('shapes', [0.5, 0.5], [1], 'want'),
  )
  def test_refuses(self, scores, labels, message):
    for _, metric in METRICS:
      with self.assertRaisesRegex(ValueError, message):
        from_columns(metric, (scores, labels, [0]))


if __name__ == '__main__':
  absltest.main()
