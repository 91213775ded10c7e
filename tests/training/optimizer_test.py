from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import optax

from limaml_jax import config as config_lib
from limaml_jax.training import optimizer


def make_config(**settings):
  return config_lib.OuterLoopConfig(
      learning_rate=0.1, table_learning_rate=0.2, **settings
  )


def step_sizes(transformation, params, num_steps):
  """Returns the largest step of each array, step by step, for gradient 1."""
  state = transformation.init(params)
  gradient = jax.tree.map(jnp.ones_like, params)
  sizes = []
  for _ in range(num_steps):
    updates, state = transformation.update(gradient, state, params)
    sizes.append(jax.tree.map(lambda u: float(jnp.max(jnp.abs(u))), updates))
  return sizes


class OptimizerTest(absltest.TestCase):

  def test_rate_warms_up_to_the_peak_and_decays_to_a_tenth(self):
    config = make_config(warmup_fraction=0.2, weight_decay=0.0)
    transformation = optimizer.dense_optimizer(config, num_steps=20)
    # Adam's step is the rate, as long as the gradient is the same.
    sizes = [s['w'] for s in step_sizes(transformation, {'w': jnp.ones(1)}, 21)]
    self.assertEqual(sizes[0], 0.0)
    self.assertAlmostEqual(sizes[2], 0.05, places=5)
    self.assertAlmostEqual(max(sizes), 0.1, places=5)
    self.assertEqual(sizes.index(max(sizes)), 4)
    self.assertAlmostEqual(sizes[20], 0.01, places=5)

  def test_without_warm_up_the_first_step_is_the_largest(self):
    config = make_config(warmup_fraction=0.0, weight_decay=0.0)
    transformation = optimizer.table_optimizer(config, num_steps=10)
    sizes = step_sizes(transformation, jnp.ones((1, 1)), 3)
    self.assertAlmostEqual(sizes[0], 0.2, places=5)
    self.assertLess(sizes[2], sizes[0])

  def test_decay_spares_the_biases(self):
    config = make_config(warmup_fraction=0.0, weight_decay=0.5)
    transformation = optimizer.dense_optimizer(config, num_steps=10)
    params = {'kernel': jnp.ones((2, 2)), 'bias': jnp.ones(2)}
    state = transformation.init(params)
    nothing = jax.tree.map(jnp.zeros_like, params)
    updates, _ = transformation.update(nothing, state, params)
    # Rate 0.1 times decay 0.5 times weight 1.
    chex.assert_trees_all_close(updates['kernel'], jnp.full((2, 2), -0.05))
    chex.assert_trees_all_equal(updates['bias'], jnp.zeros(2))

  def test_dense_gradient_is_clipped_by_its_norm(self):
    config = make_config(
        warmup_fraction=0.0, weight_decay=0.0, gradient_clip=1.0
    )
    transformation = optimizer.dense_optimizer(config, num_steps=10)
    params = {'w': jnp.zeros(2)}
    state = transformation.init(params)
    _, state = transformation.update({'w': jnp.asarray([30.0, 40.0])}, state,
                                     params)
    mean = optax.tree.get(state, 'mu')['w']
    # Adam's first moment is a tenth of the clipped gradient (0.6, 0.8).
    chex.assert_trees_all_close(mean, jnp.asarray([0.06, 0.08]), rtol=1e-5)


class RowAdamTest(absltest.TestCase):

  def test_steps_as_optax_does(self):
    table = jnp.zeros((3, 4))
    ours, theirs = optimizer.scale_by_row_adam(), optax.scale_by_adam()
    our_state, their_state = ours.init(table), theirs.init(table)
    for step in range(5):
      gradient = jax.random.normal(jax.random.key(step), table.shape)
      found, our_state = ours.update(gradient, our_state, table)
      expected, their_state = theirs.update(gradient, their_state, table)
      chex.assert_trees_all_close(found, expected, rtol=1e-6)
    chex.assert_trees_all_close(
        our_state.moments,
        jnp.stack([their_state.mu, their_state.nu], axis=1),
        rtol=1e-6,
    )
    self.assertEqual(our_state.count, 5)


class RowWiseAdagradTest(absltest.TestCase):

  def test_row_steps_by_the_root_of_its_mean_squares(self):
    config = make_config(
        table_optimizer='row_wise_adagrad',
        warmup_fraction=0.0,
        weight_decay=0.0,
    )
    transformation = optimizer.table_optimizer(config, num_steps=10**6)
    table = jnp.zeros((3, 2))
    state = transformation.init(table)
    # Mean squares 25 and 4; the last row is not stepped.
    gradient = jnp.asarray([[1.0, 7.0], [2.0, 2.0], [0.0, 0.0]])
    updates, state = transformation.update(gradient, state, table)
    chex.assert_trees_all_close(
        updates, -0.2 * gradient / jnp.asarray([[5.0], [2.0], [1.0]]), rtol=1e-5
    )
    updates, state = transformation.update(gradient, state, table)
    # Twice 25, twice 4.
    chex.assert_trees_all_close(
        updates,
        -0.2 * gradient / jnp.asarray([[50.0], [8.0], [1.0]]) ** 0.5,
        rtol=1e-5,
    )
    sums = optax.tree.get(state, 'sums')
    chex.assert_trees_all_close(sums, jnp.asarray([[50.0], [8.0], [0.0]]))


if __name__ == '__main__':
  absltest.main()
