"""Settings: overrides by dotted name, and what is refused."""

from absl.testing import absltest
from absl.testing import parameterized

from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax import overrides


class OverrideTest(parameterized.TestCase):

  def test_replaces_one_setting_and_keeps_the_others(self):
    config = overrides.override(
        config_lib.Config(), {'model.meta_block.embedding_size': 7}
    )
    self.assertEqual(config.model.meta_block.embedding_size, 7)
    expected = overrides.flatten(config_lib.Config())
    expected['model.meta_block.embedding_size'] = 7
    self.assertEqual(overrides.flatten(config), expected)

  def test_whole_numbers_pass_for_floats_and_lists_for_tuples(self):
    config = overrides.override(
        config_lib.Config(),
        {'inner_loop.learning_rate': 2, 'episodes.query_buckets': [2, 8]},
    )
    self.assertIsInstance(config.inner_loop.learning_rate, float)
    self.assertEqual(config.episodes.query_buckets, (2, 8))

  @parameterized.named_parameters(
      ('heads', 'transformer', 'history_heads', 5, 'must divide .*_width, 32'),
      ('pooling', 'deep_sets', 'pooling', 'mean', "deep_sets needs 'latest'"),
  )
  def test_refuses_for_a_history(self, kind, name, value, message):
    settings = {f'model.meta_block.{name}': value}
    overrides.override(config_lib.Config(), settings)
    with self.assertRaisesRegex(errors.InputError, message):
      overrides.override(
          config_lib.Config(), settings | {'model.meta_block.kind': kind}
      )

  @parameterized.named_parameters(
      ('unknown', 'inner_loop.steps', 3, 'did you mean inner_loop.num_steps'),
      ('type', 'inner_loop.num_steps', 1.5, 'must be of type int'),
      ('bool', 'inner_loop.first_order', 1, 'must be of type bool'),
      ('choice', 'protocol.split', 'random', 'choose one of within_entity'),
      ('kind', 'model.meta_block.kind', 'lstm', 'choose one of mlp'),
      ('layers', 'model.meta_block.history_layers', 0, 'must be positive'),
      ('zero', 'episodes.tasks_per_step', 0, 'must be positive'),
      ('nan', 'inner_loop.learning_rate', float('nan'), 'must be positive'),
      ('negative', 'inner_loop.prior_rows', -1.0, 'must not be negative'),
      ('fraction', 'episodes.support_dropout', 1.5, 'must be in 0..1'),
      ('early', 'outer_loop.early_loss_share', -0.1, 'must be in 0..1'),
      ('penalty', 'outer_loop.embedding_penalty', -1.0, 'not be negative'),
      ('ranking', 'outer_loop.ranking_loss', 'triplet', 'choose one of pair'),
      ('weight', 'outer_loop.ranking_weight', -1.0, 'must not be negative'),
      ('end', 'episodes.support_dropout_end', -0.5, 'must be in 0..1, or -1'),
      ('days', 'episodes.support_half_life_days', -1.0, 'not be negative'),
      ('events', 'episodes.support_half_life_events', -1.0, 'not be negative'),
      ('holdout', 'outer_loop.holdout_fraction', 1.0, 'and not 1'),
      ('descending', 'episodes.support_buckets', (16, 4), 'ascending'),
      ('empty', 'episodes.support_buckets', (), 'ascending'),
  )
  def test_refuses(self, name, value, message):
    with self.assertRaisesRegex(errors.InputError, message):
      overrides.override(config_lib.Config(), {name: value})


if __name__ == '__main__':
  absltest.main()
