from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax.data.profile import roc_auc

NAN = float('nan')


class RocAucTest(parameterized.TestCase):

  @parameterized.named_parameters(
      ('perfect', [1, 2, 3, 4], [0, 0, 1, 1], 1.0),
      # Pairs (1 > 0): 2 > 1, 2 < 3; 4 > 1, 4 > 3: three of four.
      ('one_wrong', [1, 3, 2, 4], [0, 0, 1, 1], 0.75),
      ('all_tied', [5, 5, 5], [0, 1, 1], 0.5),
      # 2 > 1; 2 = 2 counts half.
      ('a_tie', [1, 2, 2], [0, 0, 1], 0.75),
      ('one_class', [1, 2], [1, 1], None),
  )
  def test_of_scores(self, scores, labels, expected):
    result = roc_auc.of_scores(np.asarray(scores), np.asarray(labels))
    self.assertEqual(result, expected)

  @parameterized.named_parameters(
      ('inverse', [4.0, 3.0, 2.0, 1.0], [0, 0, 1, 1], 1.0),
      # Without the missing ones only a single class is left.
      ('missing_tells', [NAN, NAN, 2.0, 1.0], [0, 0, 1, 1], 1.0),
      ('constant', [1.0, 1.0], [0, 1], 0.5),
  )
  def test_of_numbers(self, values, labels, expected):
    result = roc_auc.of_numbers(np.asarray(values), np.asarray(labels))
    self.assertEqual(result, expected)

  def test_a_category_of_one_row_tells_nothing(self):
    rows = np.arange(40)
    labels = rows % 2
    result = roc_auc.of_categories(rows, rows, labels, rows // 20)
    self.assertEqual(result, 0.5)

  def test_a_category_seen_in_the_other_half_tells(self):
    rows = np.arange(40)
    labels = rows % 2
    result = roc_auc.of_categories(labels, rows, labels, rows // 20)
    self.assertEqual(result, 1.0)

  def test_of_several_values_the_telling_one_counts(self):
    # Each row holds word 0; every second one, of label 1, word 1, too.
    labels = np.arange(40) % 2
    rows = np.repeat(np.arange(40), 1 + labels)
    first = np.diff(rows, prepend=-1) > 0
    codes = np.where(first, 0, 1)
    result = roc_auc.of_categories(codes, rows, labels, np.arange(40) // 20)
    self.assertEqual(result, 1.0)


if __name__ == '__main__':
  absltest.main()
