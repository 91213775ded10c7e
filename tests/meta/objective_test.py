"""What a task contributes to the meta loss, in its terms and as a whole."""

import functools

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
from limaml_jax.meta import microbatches
from limaml_jax.meta import objective as objective_lib
from limaml_jax.meta import ranking_loss
from limaml_jax.meta import task_loss
from tests.meta import small_network

_ALL = {
    'outer_loop__early_loss_share': 0.4,
    'outer_loop__embedding_penalty': 0.3,
    'outer_loop__ranking_weight': 0.7,
}


def embed(meta_params, meta_features):
  return {t: rows * meta_params for t, rows in meta_features.items()}


def logit(global_params, embeddings, features):
  return global_params * embeddings['user'][0] + features[0]


def compute(config, path, support=None, query=None):
  objective = objective_lib.make_objective(
      embed, logit, pooling='latest', config=config
  )
  path = [jnp.asarray(params) for params in path]
  found = objective(path, jnp.asarray(1.0), support or rows(), query or rows())
  return float(found)


def rows():
  return types.Examples(
      meta_features={'user': jnp.asarray([[2.0]])},
      features=jnp.asarray([[0.5], [-1.0], [0.0]]),
      labels=jnp.asarray([1.0, 0.0, 1.0]),
      mask=jnp.asarray([1.0, 2.0, 1.0]),
  )


def query_loss(params):
  query = rows()
  logits = params * 2.0 + query.features[:, 0]
  return float(task_loss.mean_loss(logits, query)), logits


class TermsTest(parameterized.TestCase):

  def test_early_steps_share_the_query_losses(self):
    config = config_lib.OuterLoopConfig(early_loss_share=0.4)
    losses = [query_loss(params)[0] for params in (0.1, 0.7, -0.6)]
    found = compute(config, [5.0, 0.1, 0.7, -0.6])
    expected = 0.2 * losses[0] + 0.2 * losses[1] + 0.6 * losses[2]
    self.assertAlmostEqual(found, expected, 6)

  @parameterized.parameters(
      (0, 0.4, (1.0,)),
      (1, 0.4, (0.0, 1.0)),
      (2, 0.4, (0.0, 0.4, 0.6)),
      (2, 0.0, (0.0, 0.0, 1.0)),
      (5, 0.4, (0.0, 0.1, 0.1, 0.1, 0.1, 0.6)),
  )
  def test_shares_of_steps(self, num_steps, early, expected):
    found = objective_lib.step_shares(num_steps, early)
    self.assertEqual(found, expected)

  @parameterized.parameters(*ranking_loss.BY_NAME)
  def test_ranking_is_beside_the_cross_entropy(self, name):
    config = config_lib.OuterLoopConfig(ranking_loss=name, ranking_weight=0.7)
    loss, logits = query_loss(0.3)
    rank = float(ranking_loss.BY_NAME[name](logits, rows()))
    self.assertGreater(rank, 0.1)
    self.assertAlmostEqual(compute(config, [9.0, 0.3]), loss + 0.7 * rank, 6)

  def test_penalty_is_the_squared_distance_of_embeddings(self):
    config = config_lib.OuterLoopConfig(embedding_penalty=0.25)
    # Embeddings are twice the parameters: 2.0 and 1.4.
    expected = query_loss(0.7)[0] + 0.25 * (2.0 - 1.4) ** 2
    self.assertAlmostEqual(compute(config, [1.0, 0.2, 0.7]), expected, 6)

  @parameterized.parameters(
      ({}, True),
      ({'early_loss_share': 0.1}, False),
      ({'embedding_penalty': 0.1}, False),
      ({'ranking_weight': 0.1}, False),
      ({'ranking_loss': 'listwise'}, True),
  )
  def test_plain_is_the_query_loss_after_the_last_step(self, settings, plain):
    config = config_lib.OuterLoopConfig(**settings)
    self.assertEqual(objective_lib.is_plain(config), plain)
    if plain:
      self.assertEqual(compute(config, [9.0, 0.1, 0.3]), query_loss(0.3)[0])


class WholeTest(parameterized.TestCase):
  """Of the real network, with every term."""

  def setUp(self):
    super().setUp()
    self.config = small_network.make_config(**_ALL)
    self.params = small_network.make_params(self.config)
    self.batch = small_network.make_meta_batch(self.config)

  def test_gradient_agrees_with_finite_differences(self):
    with jax.enable_x64(True):
      to_double = lambda x: x.astype(jnp.float64)
      params = jax.tree.map(
          to_double, small_network.make_params(self.config)
      )
      batch = small_network.make_empty(
          small_network.make_meta_batch(self.config), 1
      )
      meta_loss = small_network.make_meta_loss(self.config)
      flat, unravel = flatten_util.ravel_pytree(params)
      learn = jax.jit(
          jax.value_and_grad(lambda x: meta_loss(unravel(x), batch)[0])
      )
      shifts = 1e-6 * np.eye(flat.size)
      slopes = [
          learn(flat + shift)[0] - learn(flat - shift)[0] for shift in shifts
      ]
      chex.assert_trees_all_close(
          learn(flat)[1], jnp.stack(slopes) / 2e-6, rtol=1e-5, atol=1e-8
      )

  @parameterized.parameters(False, True)
  def test_both_implementations_agree(self, first_order):
    found = []
    for implementation in ('plain', 'low_rank'):
      config = small_network.make_config(
          inner_loop__implementation=implementation,
          inner_loop__first_order=first_order,
          **_ALL,
      )
      compute = small_network.loss_and_grads(config)
      found.append(compute(self.params, self.batch))
    chex.assert_trees_all_close(*found, rtol=1e-4, atol=1e-6)

  def test_every_term_counts(self):
    found = []
    for names in ((), *((name,) for name in _ALL)):
      config = small_network.make_config(**{n: _ALL[n] for n in names})
      loss = small_network.compute_loss(config)(self.params, self.batch)[0]
      found.append(float(loss))
    for one in found[1:]:
      self.assertGreater(abs(one - found[0]), 1e-3)

  def test_metrics_are_of_the_query_loss_alone(self):
    plain = small_network.make_config()
    _, expected = small_network.compute_loss(plain)(self.params, self.batch)
    _, losses = small_network.compute_loss(self.config)(
        self.params, self.batch
    )
    chex.assert_trees_all_close(losses, expected, rtol=1e-6)

  def test_microbatches_add_up_to_the_meta_batch(self):
    batch = small_network.make_meta_batch(self.config, num_tasks=6)
    batch = batch._replace(weight=jnp.asarray([1.0, 0.0, 2.0, 0.5, 0.0, 4.0]))
    meta_loss = small_network.make_meta_loss(self.config)
    whole, parts = (
        jax.jit(microbatches.make_meta_gradient(meta_loss, num_microbatches=n))(
            self.params, batch
        )
        for n in (1, 3)
    )
    chex.assert_trees_all_close(parts, whole, rtol=1e-5, atol=1e-7)

  def test_padding_rows_and_tasks_are_invisible(self):
    batch = self.batch._replace(weight=jnp.asarray([1.0, 2.0, 0.0]))
    other = small_network.take_tasks(batch, jnp.asarray([0, 1, 0]))
    padded = small_network.make_loud_padding(
        other._replace(weight=batch.weight)
    )
    compute = small_network.loss_and_grads(self.config)
    chex.assert_trees_all_close(
        compute(self.params, padded),
        compute(self.params, batch),
        rtol=1e-4,
        atol=1e-6,
    )

  def test_without_support_nothing_is_penalized(self):
    batch = self.batch
    for task in range(small_network.NUM_TASKS):
      batch = small_network.make_empty(batch, task)
    penalized = small_network.make_config(outer_loop__embedding_penalty=1e3)
    loss, gradient = small_network.loss_and_grads(penalized)(self.params, batch)
    expected = small_network.compute_loss(small_network.make_config())(
        self.params, batch
    )
    self.assertAlmostEqual(float(loss[0]), float(expected[0]), 6)
    chex.assert_tree_all_finite(gradient)


class PathTest(parameterized.TestCase):

  @parameterized.parameters('plain', 'low_rank')
  def test_each_step_is_the_end_of_a_shorter_path(self, implementation):
    config = small_network.make_config()
    params = small_network.make_params(config)
    model = small_network.make_model(config)
    episode = small_network.take_tasks(
        small_network.make_meta_batch(config), 0
    )
    support = model.encode(params, episode.support)

    @functools.partial(jax.jit, static_argnums=0)
    def embeddings_after(num_steps):
      rates = jax.tree.map(
          lambda _: jnp.full(num_steps, 0.7), params.meta_block
      )
      path, _ = inner_loop.adapt_path(
          params.meta_block,
          params.global_block,
          support,
          loss_fn=small_network.make_loss(config),
          learning_rates=rates,
          implementation=implementation if num_steps else 'plain',
      )
      return [model.embed(p, support.meta_features)['user'] for p in path]

    path = embeddings_after(3)
    self.assertLen(path, 4)
    for num_steps in range(4):
      chex.assert_trees_all_close(
          path[num_steps], embeddings_after(num_steps)[-1], rtol=1e-6
      )


if __name__ == '__main__':
  absltest.main()
