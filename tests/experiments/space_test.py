from absl.testing import absltest
from absl.testing import parameterized

from experiments import variants
from experiments.configs import kuairand_rates
from experiments.search import space
from limaml_jax import overrides


class DrawTest(parameterized.TestCase):

  @parameterized.parameters(*variants.TRAINED)
  def test_the_first_is_the_configuration_and_none_comes_twice(self, variant):
    config = variants.resolve(kuairand_rates.get_config(), variant, {})
    trials = space.draw(config, variant, 60)
    self.assertEqual(trials, space.draw(config, variant, 60))
    self.assertEqual(overrides.override(config, trials[0]), config)
    for number, trial in enumerate(trials):
      self.assertNotIn(trial, trials[:number])
      overrides.override(config, trial)  # Each is a setting that exists.

  def test_ends_when_there_are_no_more(self):
    config = variants.resolve(kuairand_rates.get_config(), 'global', {})
    trials = space.draw(config, variants.GLOBAL, 1000)
    self.assertLen(trials, 81)

  def test_a_history_wants_small_inner_rates(self):
    settings = kuairand_rates.get_config()
    kinds = {'deep_sets': 1.0, 'mlp': 6.0}
    for kind, most in kinds.items():
      config = variants.resolve(
          settings, variants.LIMAML, {'model.meta_block.kind': kind}
      )
      trials = space.draw(config, variants.LIMAML, 40)[1:]
      rates = [trial['inner_loop.learning_rate'] for trial in trials]
      self.assertEqual(max(rates), most)

  def test_no_identity_has_no_dropout_of_it(self):
    config = variants.resolve(kuairand_rates.get_config(), 'global', {})
    for trial in space.draw(config, variants.GLOBAL, 9):
      self.assertNotIn('episodes.support_dropout', trial)
      self.assertNotIn('inner_loop.learning_rate', trial)


if __name__ == '__main__':
  absltest.main()
