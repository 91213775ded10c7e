from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
from jax import flatten_util
import jax.numpy as jnp
import numpy as np

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.meta import inner_loop
from limaml_jax.meta import outer_loop
from tests.meta import small_network


def central_differences(function, params, step=1e-6):
  """Differentiates by two evaluations per number, in float64."""
  flat, unravel = flatten_util.ravel_pytree(params)
  of_flat = jax.jit(jax.vmap(lambda x: function(unravel(x))))
  shifts = step * jnp.eye(flat.size)
  slopes = (of_flat(flat + shifts) - of_flat(flat - shifts)) / (2 * step)
  return unravel(slopes)


class MetaGradientTest(parameterized.TestCase):
  """Of the real network, in float64."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.enterClassContext(jax.enable_x64(True))
    config = small_network.make_config()
    to_double = lambda x: x.astype(jnp.float64)
    params = jax.tree.map(to_double, small_network.make_params(config))
    meta_batch = small_network.make_meta_batch(config)
    # An entity without support is among them.
    meta_batch = small_network.make_empty(meta_batch, 1)
    meta_loss = small_network.make_meta_loss(config)
    function = lambda params: meta_loss(params, meta_batch)[0]
    cls.gradient = jax.jit(jax.grad(function))(params)
    cls.expected = central_differences(function, params)

  # Histories are in history_adaptation_test.
  @parameterized.parameters(
      *(part for part in types.BlockParams._fields if part != 'history')
  )
  def test_agrees_with_finite_differences(self, part):
    gradient = getattr(self.gradient, part)
    expected = getattr(self.expected, part)
    self.assertNotEmpty(jax.tree.leaves(expected))
    for leaf in jax.tree.leaves(expected):
      self.assertGreater(float(jnp.max(jnp.abs(leaf))), 1e-5)
    chex.assert_trees_all_close(gradient, expected, rtol=1e-5, atol=1e-8)


class FirstOrderTest(absltest.TestCase):

  def test_is_the_gradient_at_the_adapted_parameters(self):
    config = small_network.make_config(
        inner_loop__first_order=True, inner_loop__learned_rates=False
    )
    params = small_network.make_params(config)
    batch = small_network.make_meta_batch(config)
    only_first = batch._replace(weight=jnp.asarray([3.0, 0.0, 0.0]))
    _, gradient = small_network.loss_and_grads(config)(params, only_first)

    @jax.jit
    def gradient_at_adapted(params, episode):
      encode = small_network.make_model(config).encode
      loss_fn = small_network.make_loss(config)
      rates = jax.tree.map(lambda _: jnp.full(2, 0.7), params.meta_block)
      adapted, _ = inner_loop.adapt(
          params.meta_block,
          params.global_block,
          encode(params, episode.support),
          loss_fn=loss_fn,
          learning_rates=rates,
          prior_rows=config.inner_loop.prior_rows,
          implementation='plain',
      )

      def query_loss(adapted, global_block):
        encoder = params._replace(global_block=global_block)
        query = encode(encoder, episode.query)
        return loss_fn(adapted, global_block, query)

      return jax.grad(query_loss, (0, 1))(adapted, params.global_block)

    first = small_network.take_tasks(batch, 0)
    expected = gradient_at_adapted(params, first)
    self.assertNotEmpty(jax.tree.leaves(expected))
    chex.assert_trees_all_close(
        (gradient.meta_block, gradient.global_block),
        expected,
        rtol=1e-4,
        atol=1e-6,
    )


class MetaLossTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.config = small_network.make_config()
    cls.params = small_network.make_params(cls.config)
    cls.meta_batch = small_network.make_meta_batch(cls.config)

  def compute(self, meta_batch):
    return small_network.loss_and_grads(self.config)(self.params, meta_batch)

  def compute_query_losses(self, meta_batch):
    """Returns each task's query loss alone, by giving weight to it only."""
    num_tasks = meta_batch.weight.size
    losses = []
    for task in range(num_tasks):
      weight = jnp.zeros(num_tasks).at[task].set(1.0)
      (_, metrics), _ = self.compute(meta_batch._replace(weight=weight))
      losses.append(metrics.query_loss)
    return jnp.stack(losses)

  def test_vmap_equals_a_loop_over_tasks(self):
    losses = self.compute_query_losses(self.meta_batch)
    loss_fn = small_network.make_loss(self.config)
    encode = small_network.make_model(self.config).encode
    # All 4 rows of a support are real, and the prior counts as one.
    rates = jax.tree.map(lambda r: 0.8 * jnp.exp(r), self.params.inner_rates)

    @jax.jit
    def query_loss(params, episode):
      support = encode(params, episode.support)
      adapted = params.meta_block
      for k in range(self.config.inner_loop.num_steps):
        gradient = jax.grad(loss_fn)(adapted, params.global_block, support)
        step = lambda p, r, g, k=k: p - r[k] * g
        adapted = jax.tree.map(step, adapted, rates, gradient)
      query = encode(params, episode.query)
      return loss_fn(adapted, params.global_block, query)

    expected = jnp.stack([
        query_loss(self.params, small_network.take_tasks(self.meta_batch, n))
        for n in range(small_network.NUM_TASKS)
    ])
    chex.assert_trees_all_close(losses, expected, rtol=1e-5)

  def test_is_the_mean_over_tasks_of_weight_times_query_loss(self):
    losses = self.compute_query_losses(self.meta_batch)
    (meta_loss, _), _ = self.compute(self.meta_batch)
    # Weights are 0.5, 1 and 2; their sum is not the number of tasks.
    expected = (0.5 * losses[0] + losses[1] + 2 * losses[2]) / 3
    self.assertAlmostEqual(float(meta_loss), float(expected), places=5)

  def test_query_loss_is_the_mean_by_weight(self):
    losses = self.compute_query_losses(self.meta_batch)
    batch = self.meta_batch._replace(weight=jnp.asarray([0.0, 1.0, 3.0]))
    (_, metrics), _ = self.compute(batch)
    expected = (losses[1] + 3 * losses[2]) / 4
    self.assertAlmostEqual(float(metrics.query_loss), float(expected), places=5)

  def test_permuted_tasks_permute_the_losses(self):
    order = np.asarray([2, 0, 1])
    losses = self.compute_query_losses(self.meta_batch)
    permuted = small_network.take_tasks(self.meta_batch, order)
    chex.assert_trees_all_close(
        self.compute_query_losses(permuted), losses[order], rtol=1e-5
    )

  def test_order_of_tasks_leaves_the_gradient(self):
    permuted = small_network.take_tasks(self.meta_batch, np.asarray([2, 0, 1]))
    self.assert_same_gradient(permuted)

  def test_order_of_support_rows_leaves_the_gradient(self):
    support = self.meta_batch.support
    reverse = lambda x: x[:, ::-1]
    permuted = support._replace(
        features=jax.tree.map(reverse, support.features),
        labels=reverse(support.labels),
    )
    self.assert_same_gradient(self.meta_batch._replace(support=permuted))

  def test_padding_rows_are_invisible(self):
    self.assert_same_gradient(small_network.make_loud_padding(self.meta_batch))

  def test_task_of_weight_0_is_invisible(self):
    weight = jnp.asarray([1.0, 2.0, 0.0])
    batch = self.meta_batch._replace(weight=weight)
    other = small_network.take_tasks(batch, jnp.asarray([0, 1, 0]))
    self.assert_same_gradient(other._replace(weight=weight), as_in=batch)

  def test_batch_of_padding_tasks_has_no_loss(self):
    padding = self.meta_batch._replace(weight=jnp.zeros(3))
    (meta_loss, metrics), _ = self.compute(padding)
    self.assertEqual(float(meta_loss), 0.0)
    self.assertEqual(float(metrics.query_loss), 0.0)

  def test_empty_support_is_judged_at_the_initialization(self):
    batch = small_network.make_empty(self.meta_batch, 1)
    losses = self.compute_query_losses(batch)
    query = small_network.make_model(self.config).encode(
        self.params, small_network.take_tasks(batch.query, 1)
    )
    unadapted = small_network.make_loss(self.config)(
        self.params.meta_block, self.params.global_block, query
    )
    self.assertAlmostEqual(float(losses[1]), float(unadapted), places=6)

  def test_empty_support_leaves_the_other_tasks(self):
    losses = self.compute_query_losses(self.meta_batch)
    batch = small_network.make_empty(self.meta_batch, 1)
    left = self.compute_query_losses(batch)
    chex.assert_trees_all_close(left[::2], losses[::2], rtol=1e-5)

  @parameterized.named_parameters(('one', (1,)), ('all', (0, 1, 2)))
  def test_empty_support_has_finite_gradient(self, tasks):
    batch = self.meta_batch
    for task in tasks:
      batch = small_network.make_empty(batch, task)
    _, gradient = self.compute(batch)
    self.assertNotEmpty(jax.tree.leaves(gradient))
    chex.assert_tree_all_finite(gradient)

  def assert_same_gradient(self, meta_batch, as_in=None):
    expected = self.compute(self.meta_batch if as_in is None else as_in)
    found = self.compute(meta_batch)
    self.assertNotEmpty(jax.tree.leaves(found))
    chex.assert_tree_all_finite(found)
    chex.assert_trees_all_close(found, expected, rtol=1e-4, atol=1e-6)


class NoInnerLoopTest(absltest.TestCase):

  def test_is_ordinary_joint_training(self):
    config = small_network.make_config(inner_loop__num_steps=0)
    params = small_network.make_params(config)
    meta_batch = small_network.make_meta_batch(config)
    meta_loss, metrics = jax.jit(small_network.make_meta_loss(config))(
        params, meta_batch
    )
    encode = small_network.make_model(config).encode
    loss_fn = small_network.make_loss(config)
    unadapted = lambda query: loss_fn(
        params.meta_block, params.global_block, encode(params, query)
    )
    losses = jax.jit(jax.vmap(unadapted))(meta_batch.query)
    expected = float(jnp.mean(meta_batch.weight * losses))
    self.assertAlmostEqual(float(meta_loss), expected, places=5)
    chex.assert_shape(metrics.support_losses, (0,))


class OrderNameTest(parameterized.TestCase):

  @parameterized.parameters(
      (0, False, 'joint training, no inner loop'),
      (3, True, 'first order (FOMAML), K=3'),
      (2, False, 'second order (exact meta-gradient), K=2'),
  )
  def test_says_what_runs(self, num_steps, first_order, expected):
    config = config_lib.InnerLoopConfig(
        num_steps=num_steps, first_order=first_order
    )
    self.assertEqual(outer_loop.order_name(config), expected)


if __name__ == '__main__':
  absltest.main()
