from absl.testing import absltest
from absl.testing import parameterized

from experiments import variants
from experiments.configs import ml100k_gdmix
from limaml_jax import config as config_lib
from limaml_jax import overrides


def apply(variant, kind):
  config = overrides.override(
      config_lib.Config(), {'model.meta_block.kind': kind}
  )
  return variants.apply(variant, config)


class ApplyTest(parameterized.TestCase):

  @parameterized.parameters(
      ('mlp', 'mlp'),
      ('id_embedding', 'id_embedding'),
      ('deep_sets', 'mlp'),
      ('transformer', 'mlp'),
  )
  def test_global_reads_no_history(self, kind, expected):
    config = apply(variants.GLOBAL, kind)
    self.assertEqual(config.model.meta_block.kind, expected)
    self.assertEqual(config.inner_loop.num_steps, 0)

  def test_global_of_the_gdmix_split_knows_no_user(self):
    settings = ml100k_gdmix.get_config()
    kinds = {
        name: variants.resolve(settings, name, {}).model.meta_block.kind
        for name in (variants.GLOBAL, variants.WIDE_DEEP_ID, variants.LIMAML)
    }
    self.assertEqual(kinds.pop(variants.GLOBAL), 'mlp')
    self.assertEqual(set(kinds.values()), {'id_embedding'})

  @parameterized.parameters('mlp', 'deep_sets', 'transformer')
  def test_limaml_is_the_configuration_itself(self, kind):
    config = apply(variants.LIMAML, kind)
    self.assertEqual(config.model.meta_block.kind, kind)


if __name__ == '__main__':
  absltest.main()
