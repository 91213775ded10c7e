"""The low-rank inner loop gives the numbers of the plain one."""

import dataclasses
import functools
import os
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import chex
import hypothesis
from hypothesis import strategies
import jax
from jax import flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.blocks import global_block
from limaml_jax.blocks import meta_block
from limaml_jax.linear import low_rank_kernel
from limaml_jax.meta import cost
from limaml_jax.meta import embeddings
from limaml_jax.meta import inner_loop
from limaml_jax.meta import low_rank
from limaml_jax.meta import outer_loop
from limaml_jax.meta import plain as plain_lib
from limaml_jax.meta import task_loss

# Each compiles two programs; LIMAML_EXAMPLES=100 searches longer.
_NUM_EXAMPLES = int(os.environ.get('LIMAML_EXAMPLES', '2'))
_SETTINGS = hypothesis.settings(deadline=None, derandomize=True)
_NUM_TASKS = 3
_NUM_FEATURES = 3
_GLOBAL = config_lib.GlobalBlockConfig(widths=(4,))

# What every search has to pass: second order, deep, all that learns.
_DEEP = config_lib.MetaBlockConfig(
    widths=(5, 4), embedding_size=3, activation='gelu', layer_norm=True
)
_LEARNED = config_lib.InnerLoopConfig(
    num_steps=3, learning_rate=0.4, learned_rates=True, prior_rows=3.0
)
_ENTITY_LEVEL = {'num_support': 4, 'per_sample': False, 'seed': 0}
_PER_SAMPLE = {'num_support': 4, 'per_sample': True, 'seed': 0}

networks = strategies.builds(
    config_lib.MetaBlockConfig,
    widths=strategies.lists(strategies.integers(1, 7), max_size=3).map(tuple),
    embedding_size=strategies.integers(1, 4),
    activation=strategies.sampled_from(['relu', 'gelu', 'tanh', 'silu']),
    layer_norm=strategies.booleans(),
    kind=strategies.sampled_from(['mlp', 'id_embedding']),
    pooling=strategies.sampled_from(['latest', 'mean', 'max']),
)
inner_loops = strategies.builds(
    config_lib.InnerLoopConfig,
    num_steps=strategies.integers(1, 3),
    learning_rate=strategies.floats(0.05, 0.8),
    learned_rates=strategies.booleans(),
    prior_rows=strategies.sampled_from([0.0, 3.0]),
    first_order=strategies.sampled_from([False, False, False, True]),
    remat=strategies.booleans(),
)
tasks = strategies.fixed_dictionaries({
    'num_support': strategies.integers(1, 5),
    'per_sample': strategies.booleans(),
    'seed': strategies.integers(0, 2**16),
})


def make_params(network, config, rng):
  """Returns random parameters, none of them zero, in float64."""
  blocks = jax.eval_shape(
      lambda key: types.BlockParams(
          meta_block={
              'user': meta_block.init(key, network, num_features=_num(network))
          },
          global_block=global_block.init(
              key,
              _GLOBAL,
              embedding_sizes={'user': network.embedding_size},
              num_features=_NUM_FEATURES,
          ),
          tables={},
          inner_rates={},
          history={},
      ),
      jax.random.key(0),
  )
  if config.learned_rates:
    rates = jax.ShapeDtypeStruct((config.num_steps,), np.float64)
    inner_rates = jax.tree.map(lambda _: rates, blocks.meta_block)
    blocks = blocks._replace(inner_rates=inner_rates)
  return jax.tree.map(lambda x: 0.5 * rng.normal(size=x.shape) - 0.1, blocks)


def _num(network):
  """Meta features: an ID embedding's row, and two attributes."""
  own_row = network.embedding_size if network.kind == 'id_embedding' else 0
  return 2 + own_row


def make_batch(network, rng, *, num_support, per_sample):
  """Returns encoded tasks; the first has no support, some rows are padding."""

  def examples(size, num_rows):
    mask = rng.integers(0, 2, (_NUM_TASKS, size)).astype(float)
    mask[1:, 0] = 1.0
    return types.Examples(
        meta_features={
            'user': rng.normal(size=(_NUM_TASKS, num_rows, _num(network)))
        },
        features=rng.normal(size=(_NUM_TASKS, size, _NUM_FEATURES)),
        labels=rng.integers(0, 2, (_NUM_TASKS, size)).astype(float),
        mask=mask,
    )

  support = examples(num_support, num_support if per_sample else 1)
  support.mask[0] = 0.0
  return types.Episode(support, examples(2, 1), np.ones(_NUM_TASKS))


def make_functions(network):
  """Returns encode, embed and logit of the network."""
  prepare = functools.partial(global_block.prepare, config=_GLOBAL)

  def encode(params, examples):
    prepared = jax.vmap(prepare, in_axes=(None, 0))(
        params.global_block, examples.features
    )
    return examples._replace(features=prepared)

  def embed(meta_params, meta_features):
    rows = meta_features['user']
    return {'user': meta_block.apply(meta_params['user'], rows, config=network)}

  return encode, embed, functools.partial(global_block.apply, config=_GLOBAL)


def make_meta_loss(network, config):
  encode, embed, logit = make_functions(network)
  return outer_loop.make_meta_loss(
      encode=encode,
      loss_fn=task_loss.make_task_loss(embed, logit),
      query_loss_fn=task_loss.make_query_loss(
          embed, logit, pooling=network.pooling
      ),
      config=config,
  )


def learn(network, config, params, batch):
  """Returns embeddings, the meta losses and the meta-gradient."""
  encode, embed, logit = make_functions(network)
  loss_fn = task_loss.make_task_loss(embed, logit)
  meta_loss = make_meta_loss(network, config)

  def embedding(support):
    whole = config_lib.Config(
        model=config_lib.ModelConfig(meta_block=network), inner_loop=config
    )
    return embeddings.meta_embedding(
        params,
        encode(params, support),
        embed=embed,
        loss_fn=loss_fn,
        config=whole,
    )

  value = jax.value_and_grad(meta_loss, has_aux=True)(params, batch)
  return jax.vmap(embedding)(batch.support), value


def learn_loss(network, config, params, batch):
  """Returns the meta loss alone."""
  return make_meta_loss(network, config)(params, batch)[0]


def both(network, config, task, dtype):
  """Learns from the same tasks with either implementation."""
  task = dict(task)
  rng = np.random.default_rng(task.pop('seed'))
  params = make_params(network, config, rng)
  batch = make_batch(network, rng, **task)
  params, batch = jax.tree.map(
      lambda x: jnp.asarray(x, dtype), (params, batch)
  )
  def learn_by(implementation, other):
    chosen = dataclasses.replace(config, implementation=implementation)
    learn_tasks = jax.jit(
        functools.partial(learn, network, chosen),
        # Compiling takes all the time of these tests.
        compiler_options={'xla_backend_optimization_level': 0},
    )
    with mock.patch.object(other, 'adapt', side_effect=AssertionError):
      return learn_tasks(params, batch)

  return [learn_by('plain', low_rank), learn_by('low_rank', plain_lib)]


class EqualityTest(absltest.TestCase):

  @hypothesis.settings(_SETTINGS, max_examples=_NUM_EXAMPLES)
  @hypothesis.example(_DEEP, _LEARNED, _ENTITY_LEVEL)
  @hypothesis.example(_DEEP, _LEARNED, _PER_SAMPLE)
  @hypothesis.given(networks, inner_loops, tasks)
  def test_equals_plain_in_float64(self, network, config, task):
    with jax.enable_x64(True):
      plain, factored = both(network, config, task, jnp.float64)
    chex.assert_tree_all_finite(plain)
    chex.assert_trees_all_close(factored, plain, rtol=1e-10, atol=1e-12)

  @pytest.mark.slow
  @hypothesis.settings(_SETTINGS, max_examples=_NUM_EXAMPLES // 2)
  @hypothesis.example(_DEEP, _LEARNED, _ENTITY_LEVEL)
  @hypothesis.example(_DEEP, _LEARNED, _PER_SAMPLE)
  @hypothesis.given(networks, inner_loops, tasks)
  def test_equals_plain_in_float32(self, network, config, task):
    with jax.enable_x64(True):  # The same random numbers, rounded.
      plain, factored = both(network, config, task, jnp.float32)
    # Relative to the array: its small elements are differences of large ones.
    for found, expected in zip(
        jax.tree.leaves(factored), jax.tree.leaves(plain), strict=True
    ):
      scale = max(float(jnp.max(jnp.abs(expected))), 1e-2)
      np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * scale)


class FiniteDifferencesTest(parameterized.TestCase):

  # Plain adaptation has the same gradient: EqualityTest.
  @parameterized.parameters(False, True)
  def test_agree_with_the_meta_gradient(self, per_sample):
    network = config_lib.MetaBlockConfig(
        widths=(3, 2), embedding_size=2, activation='tanh', layer_norm=True
    )
    config = config_lib.InnerLoopConfig(
        num_steps=3,
        learning_rate=0.5,
        learned_rates=True,
        prior_rows=1.0,
        implementation='low_rank',
    )
    with jax.enable_x64(True):
      rng = np.random.default_rng(0)
      params = jax.tree.map(jnp.asarray, make_params(network, config, rng))
      batch = make_batch(network, rng, num_support=3, per_sample=per_sample)
      flat, unravel = flatten_util.ravel_pytree(params)
      learned = jax.jit(
          lambda flat: learn(network, config, unravel(flat), batch)[1]
      )
      _, gradient = learned(flat)
      shifts = 1e-6 * jnp.eye(flat.size)
      loss = jax.jit(jax.vmap(lambda flat: learned(flat)[0][0]))
      slopes = (loss(flat + shifts) - loss(flat - shifts)) / 2e-6
      found = flatten_util.ravel_pytree(gradient)[0]
    self.assertGreater(float(jnp.max(jnp.abs(slopes))), 1e-3)
    np.testing.assert_allclose(found, slopes, rtol=1e-5, atol=1e-8)


class Bfloat16Test(parameterized.TestCase):

  @parameterized.parameters(_ENTITY_LEVEL, _PER_SAMPLE)
  def test_computes_as_float32_but_coarsely(self, **task):
    config = config_lib.InnerLoopConfig(num_steps=2, learning_rate=0.2)
    network = config_lib.MetaBlockConfig(widths=(5,), embedding_size=3)
    exact = jax.tree.leaves(both(network, config, task, jnp.float32)[0])
    network = dataclasses.replace(network, compute_dtype='bfloat16')
    for outcome in both(network, config, task, jnp.float32):
      coarse = jax.tree.leaves(outcome)
      self.assertEqual({leaf.dtype for leaf in coarse}, {jnp.dtype('float32')})
      for found, expected in zip(coarse, exact, strict=True):
        error = np.linalg.norm(found - expected)
        self.assertLess(error, 0.05 * np.linalg.norm(expected) + 1e-3)
      self.assertGreater(np.linalg.norm(coarse[0] - exact[0]), 1e-6)


class RematTest(parameterized.TestCase):

  @parameterized.parameters('plain', 'low_rank')
  def test_keeps_less_for_the_way_back(self, implementation):
    def kept_bytes(remat):
      config = config_lib.InnerLoopConfig(
          num_steps=3, implementation=implementation, remat=remat
      )
      rng = np.random.default_rng(0)
      params = make_params(_DEEP, config, rng)
      batch = make_batch(_DEEP, rng, num_support=5, per_sample=True)
      loss = lambda params: learn_loss(_DEEP, config, params, batch)
      back = jax.eval_shape(lambda params: jax.vjp(loss, params)[1], params)
      return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(back))

    self.assertLess(kept_bytes(remat=True), kept_bytes(remat=False) / 2)


def attention_loss(meta_params, global_params, examples):
  """Rows that attend to each other: no kernel of it is a product of rows."""
  del global_params
  rows = examples.meta_features['user']
  queries = jnp.einsum('ri,io->ro', rows, meta_params['queries'])
  scores = jax.nn.softmax(queries @ rows.T)
  return jnp.sum((scores @ rows @ meta_params['values']) ** 2)


class ExpressibleTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.params = {
        'queries': jnp.ones((3, 3)),
        'values': jnp.full((3, 2), 0.5),
    }
    rows = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)))
    self.support = types.Examples(
        {'user': rows}, jnp.zeros((4, 1)), jnp.zeros(4), jnp.ones(4)
    )

  def plan(self, implementation):
    return inner_loop.plan(
        self.params,
        {},
        self.support,
        loss_fn=attention_loss,
        num_steps=2,
        implementation=implementation,
    )

  def test_what_it_cannot_express_stays_plain_and_is_said(self):
    plan = self.plan('low_rank')
    self.assertEqual(plan.low_rank, {"['values']": 4})
    self.assertIn("plain, as ['queries']", cost.describe(plan))

  def test_a_mixed_block_adapts_as_the_plain_one(self):
    rates = jax.tree.map(lambda _: jnp.full(2, 0.01), self.params)
    adapt = functools.partial(
        inner_loop.adapt,
        self.params,
        {},
        self.support,
        loss_fn=attention_loss,
        learning_rates=rates,
    )
    plain, losses = adapt(implementation='plain')
    mixed, mixed_losses = adapt(implementation='low_rank')
    self.assertIsInstance(mixed['values'], low_rank_kernel.LowRankKernel)
    chex.assert_trees_all_close(mixed_losses, losses, rtol=1e-5)
    chex.assert_trees_all_close(mixed['queries'], plain['queries'], rtol=1e-5)
    rows = self.support.meta_features['user']
    chex.assert_trees_all_close(
        rows @ mixed['values'], rows @ plain['values'], rtol=1e-5
    )

  def test_a_kernel_that_is_used_twice_is_refused(self):
    def loss(meta_params, global_params, examples):
      del global_params
      rows = examples.meta_features['user']
      twice = jnp.tanh(rows @ meta_params['w']) @ meta_params['w']
      return jnp.sum(twice)

    num_rows, refused = low_rank.find_kernels(
        {'w': jnp.ones((3, 3))}, {}, self.support, loss_fn=loss
    )
    self.assertEmpty(num_rows)
    self.assertIn('2 times', refused["['w']"])

  def test_a_loss_that_differentiates_by_its_rows_adapts_plainly(self):
    def loss(meta_params, global_params, examples):
      del global_params
      rows = examples.meta_features['user']
      slope = jax.grad(lambda rows: jnp.sum(jnp.sin(rows @ meta_params['w'])))
      return jnp.sum(slope(rows) ** 2)

    num_rows, refused = low_rank.find_kernels(
        {'w': jnp.ones((3, 3))}, {}, self.support, loss_fn=loss
    )
    self.assertEmpty(num_rows)
    self.assertIn("['w']", refused)

  def test_an_array_of_more_axes_is_named(self):
    loss = lambda params, *_: jnp.sum(params['w'])
    num_rows, refused = low_rank.find_kernels(
        {'w': jnp.ones((3, 2, 2))}, {}, self.support, loss_fn=loss
    )
    self.assertEmpty(num_rows)
    self.assertEqual(refused, {"['w']": 'has 3 axes'})


if __name__ == '__main__':
  absltest.main()
