"""Adaptation and meta-gradient where the meta block reads a history."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
from jax import flatten_util
import jax.numpy as jnp
import numpy as np

from limaml_jax.meta import embeddings
from tests.meta import small_network

_KINDS = ('deep_sets', 'transformer')


def make_config(kind, **settings):
  return small_network.make_config(
      model__meta_block__kind=kind,
      model__meta_block__history_width=4,
      **settings,
  )


class HistoryTest(parameterized.TestCase):

  @parameterized.parameters(*_KINDS)
  def test_low_rank_equals_plain(self, kind):
    plain, low_rank = (
        make_config(kind, inner_loop__implementation=implementation)
        for implementation in ('plain', 'low_rank')
    )
    params = small_network.make_params(plain)
    batch = small_network.make_meta_batch(plain)
    learn = small_network.loss_and_grads
    expected = learn(plain)(params, batch)
    for path, leaf in jax.tree_util.tree_leaves_with_path(expected[1].history):
      self.assertGreater(float(jnp.max(jnp.abs(leaf))), 1e-6, path)
    chex.assert_trees_all_close(
        learn(low_rank)(params, batch), expected, rtol=1e-3, atol=1e-6
    )

  @parameterized.product(kind=_KINDS, num_steps=(0, 2))
  def test_meta_gradient_agrees_with_finite_differences(self, kind, num_steps):
    with jax.enable_x64(True):
      # Rounded by nothing, and away from the kinks of ReLU.
      config = make_config(kind, inner_loop__num_steps=num_steps)
      to_double = functools.partial(
          jax.tree.map,
          lambda x: x.astype('float64') if x.dtype == 'float32' else x,
      )
      params = to_double(small_network.make_params(config))
      batch = to_double(small_network.make_meta_batch(config))
      flat, unravel = flatten_util.ravel_pytree(params)
      meta_loss = small_network.make_meta_loss(config)
      loss = lambda flat: meta_loss(unravel(flat), batch)[0]
      rng = np.random.default_rng(0)
      directions = 1e-6 * rng.normal(size=(5, flat.size))
      slopes = jax.jit(jax.vmap(lambda d: loss(flat + d) - loss(flat - d)))
      found = 2 * directions @ jax.jit(jax.grad(loss))(flat)
      expected = slopes(directions)
    np.testing.assert_allclose(found, expected, rtol=1e-5)

  @parameterized.parameters(*_KINDS)
  def test_no_support_makes_one_embedding_whatever_is_in_its_padding(
      self, kind
  ):
    config = make_config(kind)
    params = small_network.make_params(config)
    model = small_network.make_model(config)
    batch = small_network.make_meta_batch(config)
    # Task 0 and, with the other rows as padding, task 1 of the same entity.
    support = batch.support._replace(mask=0 * batch.support.mask)
    support = support._replace(
        meta_features=jax.tree.map(
            lambda x: jnp.broadcast_to(x[:1], x.shape), support.meta_features
        )
    )

    @jax.jit
    def embed(support):
      return jax.vmap(
          lambda one: embeddings.meta_embedding(
              params,
              model.encode(params, one),
              embed=model.embed,
              loss_fn=small_network.make_loss(config),
              config=config,
          )['user']
      )(support)

    found = embed(support)
    chex.assert_trees_all_equal(found[1], found[0])
    real = embed(support._replace(mask=jnp.ones_like(support.mask)))
    self.assertGreater(float(jnp.max(jnp.abs(real - found))), 1e-3)


if __name__ == '__main__':
  absltest.main()
