"""Tests for the closed-form baselines."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax.evaluation import baselines

# Entities 0, 1 and 2 have 3, 0 and 2 events.
OFFSETS = np.array([0, 3, 3, 5])
ITEMS = np.array([1, 2, 1, 1, 2])
LABELS = np.array([1, 0, 1, 0, 1], np.float32)


class LeadingMaskTest(absltest.TestCase):

  def test_marks_first_events_of_each_entity(self):
    mask = baselines.leading_mask(OFFSETS, np.array([2, 0, 1]))
    np.testing.assert_array_equal(mask, [True, True, False, True, False])


class ItemPriorTest(parameterized.TestCase):

  @parameterized.named_parameters(
      # Training labels are 1, 0, 1, 0: mean 1/2. Item 1 has 1, 1, 0.
      ('raw', 0.0, [1 / 2, 2 / 3, 1e-6]),
      # (2 + 2 / 2) / (3 + 2), (0 + 2 / 2) / (1 + 2).
      ('shrunk', 2.0, [1 / 2, 3 / 5, 1 / 3]),
  )
  def test_closed_form(self, strength, expected):
    train_mask = np.array([True, True, True, True, False])
    prior = baselines.item_prior(
        ITEMS, LABELS, train_mask, 3, strength=strength
    )
    np.testing.assert_allclose(prior, expected)

  def test_later_labels_are_invisible(self):
    train_mask = baselines.leading_mask(OFFSETS, np.array([2, 0, 1]))
    priors = [
        baselines.item_prior(ITEMS, labels, train_mask, 3, strength=1.0)
        for labels in (LABELS, np.where(train_mask, LABELS, 1.0 - LABELS))
    ]
    np.testing.assert_array_equal(*priors)

  def test_refuses_no_training_events(self):
    with self.assertRaisesRegex(ValueError, 'no training event'):
      baselines.item_prior(ITEMS, LABELS, np.zeros(5, bool), 3, strength=1.0)


class UserBiasTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.prior = np.array([0.5, 0.8, 0.5])

  def offsets(self, entities, support_size, labels=LABELS, strength=0.59):
    return baselines.entity_offsets(
        OFFSETS, ITEMS, labels, self.prior,
        np.array(entities), np.array(support_size), strength=strength,
    )

  def test_closed_form(self):
    # Residuals of entity 0: .2, -.5, .2; variances .16, .25, .16. Entity 2:
    # residuals -.8, .5; variances .16, .25.
    np.testing.assert_allclose(
        self.offsets([0, 0, 2, 2], [2, 3, 1, 2]),
        [-0.3 / 1.0, -0.1 / 1.16, -0.8 / 0.75, -0.3 / 1.0],
    )

  def test_no_support_has_no_offset(self):
    np.testing.assert_array_equal(self.offsets([0, 1, 2], [0, 0, 0]), 0.0)

  def test_later_labels_are_invisible(self):
    labels = np.array([1, 1, 1, 0, 0], np.float32)  # Events 1 and 4 differ.
    entities, support_size = [0, 2], [1, 1]
    np.testing.assert_array_equal(
        self.offsets(entities, support_size),
        self.offsets(entities, support_size, labels),
    )

  def test_first_step_towards_the_maximum_likelihood(self):
    # One prior for all: the step from 0 is exact in the limit of small gaps.
    items = np.zeros(1000, np.int64)
    labels = np.arange(1000) < 510  # Mean .51 where the prior says .5.
    offset = baselines.entity_offsets(
        np.array([0, 1000]), items, labels, np.array([0.5]),
        np.array([0]), np.array([1000]), strength=1e-9,
    )
    score = baselines.user_bias_scores(np.array([0.5]), items[:1], offset)
    np.testing.assert_allclose(score, 0.51, atol=1e-5)

  def test_refuses_support_beyond_the_events(self):
    with self.assertRaisesRegex(ValueError, 'exceeds'):
      self.offsets([0], [4])

  def test_refuses_no_strength(self):
    with self.assertRaisesRegex(ValueError, 'strength'):
      self.offsets([0], [0], strength=0.0)

  def test_score_adds_the_offset_to_the_logit(self):
    # Odds of .8 are 4; an offset of log 2 doubles them: 8 / 9.
    scores = baselines.user_bias_scores(
        self.prior, np.array([1, 1, 0]), np.log([2.0, 1.0, 2.0])
    )
    np.testing.assert_allclose(scores, [8 / 9, 0.8, 2 / 3])


if __name__ == '__main__':
  absltest.main()
