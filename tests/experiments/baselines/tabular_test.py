from absl.testing import absltest
from absl.testing import parameterized

from experiments.baselines import tabular
from limaml_jax import types


class IsCrossedTest(parameterized.TestCase):

  @parameterized.named_parameters(
      ('category', 'categorical', 'context', 15, True),
      ('categories', 'multi_hot', 'item', 40, True),
      ('of_too_many', 'categorical', 'item', 5000, False),
      ('of_the_entity', 'categorical', 'entity', 15, False),
      ('number', 'numeric', 'item', 0, False),
      # A rate in buckets is what it is crossed for, already.
      ('buckets', 'bucketized', 'context', 25, False),
  )
  def test_entities_have_a_taste_for(self, kind, owner, num_rows, expected):
    spec = types.FeatureSpec('f', kind, owner, 'global', num_rows=num_rows)
    self.assertEqual(tabular.is_crossed(spec), expected)


if __name__ == '__main__':
  absltest.main()
