import functools

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.meta import inner_loop

_START = 2.0


def squared_loss(meta_params, global_params, examples):
  """Masked mean of h (w - g y)^2 / 2: a step shrinks w - g mean(y) by 1 - lr h.

  The optimum is g mean(y), the curvature is h.
  """
  errors = meta_params['w'] - global_params['g'] * examples.labels
  losses = 0.5 * global_params['h'] * errors**2
  num_rows = jnp.maximum(jnp.sum(examples.mask), 1.0)
  return jnp.sum(losses * examples.mask) / num_rows


def make_examples(labels, num_padding=0):
  mask = [1.0] * len(labels) + [0.0] * num_padding
  labels = labels + [7.0] * num_padding  # Loud, should it leak through.
  return types.Examples(
      meta_features={},
      features=jnp.zeros((len(labels), 1)),
      labels=jnp.asarray(labels),
      mask=jnp.asarray(mask),
  )


def weighted_loss(meta_params, global_params, examples):
  """As `squared_loss`, of rows whose weights may add up to less than 1."""
  mask = examples.mask / jnp.sum(examples.mask)
  return squared_loss(
      meta_params, global_params, examples._replace(mask=mask)
  )


def adapt(
    params,
    globals_,
    support,
    *,
    num_steps=2,
    rate=0.5,
    loss_fn=squared_loss,
    **kwargs,
):
  return inner_loop.adapt(
      params,
      globals_,
      support,
      loss_fn=loss_fn,
      learning_rates=jax.tree.map(lambda _: jnp.full(num_steps, rate), params),
      **kwargs,
  )


def make_globals(g=1.0, h=1.0):
  return {'g': jnp.asarray(g), 'h': jnp.asarray(h)}


class AdaptTest(chex.TestCase):

  def setUp(self):
    super().setUp()
    self.params = {'w': jnp.asarray(_START)}
    self.support = make_examples([4.0, 8.0])

  @chex.variants(with_jit=True, without_jit=True)
  def test_reaches_closed_form(self):
    adapted, _ = self.variant(adapt)(self.params, make_globals(), self.support)
    # 6 + 0.5**2 * (2 - 6) = 5.
    chex.assert_trees_all_close(adapted, {'w': jnp.asarray(5.0)})

  def test_losses_are_those_before_each_step(self):
    _, losses = adapt(self.params, make_globals(), self.support)
    # w = 2: (4 + 36) / 4 = 10. w = 4: (0 + 16) / 4 = 4.
    chex.assert_trees_all_close(losses, jnp.asarray([10.0, 4.0]))

  def test_each_step_has_its_own_rate(self):
    adapted, _ = inner_loop.adapt(
        self.params,
        make_globals(),
        self.support,
        loss_fn=squared_loss,
        learning_rates={'w': jnp.asarray([0.5, 0.25])},
    )
    # 6 + 0.5 * 0.75 * (2 - 6) = 4.5.
    chex.assert_trees_all_close(adapted, {'w': jnp.asarray(4.5)})

  def test_no_steps_return_the_initialization(self):
    adapted, losses = adapt(
        self.params, make_globals(), self.support, num_steps=0
    )
    chex.assert_trees_all_equal(adapted, self.params)
    chex.assert_shape(losses, (0,))

  @parameterized.named_parameters(('some', [4.0, 8.0]), ('none', []))
  def test_padding_is_invisible(self, labels):
    padded = make_examples(labels, num_padding=3)
    adapted, _ = adapt(self.params, make_globals(), padded)
    expected = 5.0 if labels else _START
    chex.assert_trees_all_close(adapted, {'w': jnp.asarray(expected)})

  @parameterized.parameters(
      # n real rows move n / (n + prior) of a step: 6 + (1 - 0.5 n / (n + p))**2
      # (2 - 6) for n = 2.
      (0.0, 5.0),
      (2.0, 6 - 4 * 0.75**2),
      (6.0, 6 - 4 * 0.875**2),
  )
  def test_prior_rows_shorten_the_steps(self, prior_rows, expected):
    padded = make_examples([4.0, 8.0], num_padding=3)
    adapted, _ = adapt(
        self.params, make_globals(), padded, prior_rows=prior_rows
    )
    chex.assert_trees_all_close(adapted, {'w': jnp.asarray(expected)})

  @parameterized.parameters(0.0, 2.0)
  def test_prior_rows_stand_against_weights(self, prior_rows):
    light = self.support._replace(mask=jnp.asarray([0.2, 0.2]))
    adapted, _ = adapt(
        self.params,
        make_globals(),
        light,
        prior_rows=prior_rows,
        loss_fn=weighted_loss,
    )
    # n = 0.4 moves n / (n + prior) of a step of the mean, 6.
    trust = 0.4 / (0.4 + prior_rows)
    expected = 6 - 4 * (1 - 0.5 * trust) ** 2
    chex.assert_trees_all_close(adapted, {'w': jnp.asarray(expected)})

  @parameterized.parameters(0.0, 2.0)
  def test_empty_support_moves_nothing_whatever_the_prior(self, prior_rows):
    empty = make_examples([], num_padding=3)
    adapted, _ = adapt(
        self.params, make_globals(), empty, prior_rows=prior_rows
    )
    chex.assert_trees_all_equal(adapted, self.params)

  @parameterized.named_parameters(
      # d query / d w0 = h (w_K - y) d w_K / d w0, with h = 0.5, K = 3 and
      # rate 0.8: w_K = 6 + 0.6**3 (2 - 6) = 5.136, y = 1.
      ('second_order', False, 0.5 * (5.136 - 1.0) * 0.6**3),
      ('first_order', True, 0.5 * (5.136 - 1.0)),
  )
  def test_meta_gradient(self, first_order, expected):
    globals_ = make_globals(h=0.5)

    def query_loss(params):
      adapted, _ = adapt(
          params,
          globals_,
          self.support,
          num_steps=3,
          rate=0.8,
          first_order=first_order,
      )
      return squared_loss(adapted, globals_, make_examples([1.0]))

    gradient = jax.grad(query_loss)(self.params)
    chex.assert_trees_all_close(
        gradient, {'w': jnp.asarray(expected)}, rtol=1e-5
    )

  @parameterized.named_parameters(
      # w_2 = g 6 + 0.5**2 (2 - g 6), so d w_2 / d g = 6 * 0.75 = 4.5.
      ('second_order', False, 4.5),
      # Inner gradients are constants: the mixed derivative is dropped too.
      ('first_order', True, 0.0),
  )
  def test_global_block_moves_the_adapted_one(self, first_order, expected):
    def adapted_weight(g):
      adapted, _ = adapt(
          self.params, make_globals(g), self.support, first_order=first_order
      )
      return adapted['w']

    self.assertAlmostEqual(float(jax.grad(adapted_weight)(1.0)), expected)

  def test_meta_gradient_of_a_rate(self):
    def adapted_weight(rate):
      adapted, _ = adapt(self.params, make_globals(), self.support, rate=rate)
      return adapted['w']

    # w_2 = 6 - 4 (1 - r)^2, so d w_2 / d r = 8 (1 - r) = 4.
    self.assertAlmostEqual(float(jax.grad(adapted_weight)(0.5)), 4.0, places=5)

  def test_empty_support_has_finite_meta_gradient(self):
    def adapted_weight(params):
      empty = make_examples([], num_padding=2)
      return adapt(params, make_globals(), empty)[0]['w']

    gradient = jax.grad(adapted_weight)(self.params)
    chex.assert_trees_all_equal(gradient, {'w': jnp.asarray(1.0)})


class MakeLearningRatesTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.params = {'w': jnp.zeros((2, 3)), 'b': jnp.zeros(3)}
    self.make = functools.partial(
        inner_loop.make_learning_rates,
        config=config_lib.InnerLoopConfig(num_steps=2, learning_rate=0.25),
    )

  def test_fixed_rate_repeats_for_each_array_and_step(self):
    rates = self.make(self.params, {})
    expected = jnp.asarray([0.25, 0.25])
    chex.assert_trees_all_equal(rates, {'w': expected, 'b': expected})

  def test_learned_rates_are_logarithms(self):
    logarithms = {'w': jnp.log(jnp.asarray([0.5, 2.0])), 'b': jnp.zeros(2)}
    rates = self.make(self.params, logarithms)
    expected = {'w': jnp.asarray([0.5, 2.0]), 'b': jnp.ones(2)}
    chex.assert_trees_all_close(rates, expected)


if __name__ == '__main__':
  absltest.main()
