import functools

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.blocks import meta_block
from limaml_jax.meta import embeddings
from limaml_jax.meta import inner_loop
from tests.meta import small_network

_ROWS = ((1.0, 8.0), (3.0, -2.0), (5.0, 6.0), (90.0, 90.0))


class PoolTest(parameterized.TestCase):

  @parameterized.parameters(
      ('latest', (5.0, 6.0)),
      ('mean', (3.0, 4.0)),
      ('max', (5.0, 8.0)),
  )
  def test_pools_real_rows_alone(self, pooling, expected):
    mask = jnp.asarray([1.0, 1.0, 1.0, 0.0])
    pooled = embeddings.pool(jnp.asarray(_ROWS), mask, pooling=pooling)
    chex.assert_trees_all_close(pooled, jnp.asarray(expected))

  @parameterized.parameters(
      ('latest', (5.0, 6.0)),
      # (1 + 2 * 3 + 0.5 * 5) / 3.5; (8 - 2 * 2 + 0.5 * 6) / 3.5.
      ('mean', (9.5 / 3.5, 2.0)),
      ('max', (5.0, 8.0)),
  )
  def test_pools_by_weight(self, pooling, expected):
    weights = jnp.asarray([1.0, 2.0, 0.5, 0.0])
    pooled = embeddings.pool(jnp.asarray(_ROWS), weights, pooling=pooling)
    chex.assert_trees_all_close(pooled, jnp.asarray(expected))

  @parameterized.parameters('latest', 'mean', 'max')
  def test_is_the_first_row_without_any_real_one(self, pooling):
    pooled = embeddings.pool(jnp.asarray(_ROWS), jnp.zeros(4), pooling=pooling)
    chex.assert_trees_all_close(pooled, jnp.asarray(_ROWS[0]))

  @parameterized.parameters('latest', 'mean', 'max')
  def test_is_the_only_row_of_an_entity_with_one(self, pooling):
    one = jnp.asarray(_ROWS[:1])
    pooled = embeddings.pool(one, jnp.asarray([1.0, 1.0, 0.0]), pooling=pooling)
    chex.assert_trees_all_close(pooled, one[0])

  @parameterized.parameters('mean', 'max')
  def test_has_finite_gradient_without_any_real_row(self, pooling):
    def total(rows):
      return jnp.sum(embeddings.pool(rows, jnp.zeros(4), pooling=pooling))

    gradient = jax.grad(total)(jnp.asarray(_ROWS))
    expected = jnp.zeros((4, 2)).at[0].set(1.0)
    chex.assert_trees_all_close(gradient, expected)


@functools.cache
def _compile_embed(config):
  embed = functools.partial(
      embeddings.meta_embedding,
      embed=small_network.make_model(config).embed,
      loss_fn=small_network.make_loss(config),
      config=config,
  )
  return jax.jit(embed)


class MetaEmbeddingTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.config = small_network.make_config()
    self.params = small_network.make_params(self.config)
    meta_batch = small_network.make_meta_batch(self.config)
    model = small_network.make_model(self.config)
    support = small_network.take_tasks(meta_batch.support, 0)
    self.support = model.encode(self.params, support)

  def embed(self, support, config):
    return _compile_embed(config)(self.params, support)['user']

  @parameterized.parameters('latest', 'mean', 'max')
  def test_equal_input_rows_are_as_good_as_one(self, pooling):
    config = small_network.make_config(model__meta_block__pooling=pooling)
    one_row = self.support.meta_features['user']
    repeated = jnp.repeat(one_row, small_network.NUM_SUPPORT, axis=0)
    same = self.support._replace(meta_features={'user': repeated})
    chex.assert_trees_all_close(
        self.embed(same, config),
        self.embed(self.support, self.config),
        rtol=1e-5,
    )

  def test_adapts(self):
    model = small_network.make_model(self.config)
    rows = self.support.meta_features
    unadapted = model.embed(self.params.meta_block, rows)['user'][0]
    moved = self.embed(self.support, self.config) - unadapted
    self.assertGreater(float(jnp.max(jnp.abs(moved))), 1e-3)

  def test_empty_support_gives_the_unadapted_embedding(self):
    empty = self.support._replace(mask=jnp.zeros_like(self.support.mask))
    model = small_network.make_model(self.config)
    rows = self.support.meta_features
    expected = model.embed(self.params.meta_block, rows)['user'][0]
    found = self.embed(empty, self.config)
    chex.assert_trees_all_close(found, expected, rtol=1e-5)


class OwnInputTest(absltest.TestCase):
  """Of 1 + S input rows the first makes the embedding."""

  def setUp(self):
    super().setUp()
    self.support = types.Examples(
        meta_features={'user': jnp.asarray([[9.0], [1.0], [2.0], [3.0]])},
        features=jnp.zeros((3, 1)),
        labels=jnp.zeros(3),
        mask=jnp.asarray([1.0, 1.0, 0.0]),
    )

  def test_the_others_go_with_the_rows(self):
    found = embeddings.row_inputs(self.support)['user']
    chex.assert_trees_all_equal(found, jnp.asarray([[1.0], [2.0], [3.0]]))

  def test_the_first_is_the_embedding(self):
    double = lambda params, rows: {t: params * r for t, r in rows.items()}
    found = embeddings.embed_support(
        2.0, self.support, embed=double, pooling='latest'
    )
    chex.assert_trees_all_equal(found['user'], jnp.asarray([18.0]))


class IdEmbeddingTest(absltest.TestCase):

  def test_adapts_as_gradient_steps_on_the_row_itself(self):
    config = config_lib.MetaBlockConfig(kind='id_embedding', embedding_size=2)
    row = jnp.asarray([0.5, -1.0])
    matrix = jnp.asarray([[1.0, 2.0], [0.0, 3.0], [1.0, 1.0]])
    targets = jnp.asarray([1.0, -2.0, 0.5])
    support = types.Examples({'user': row[None]}, matrix, targets, jnp.ones(3))

    def loss_of_embedding(embedding):
      return jnp.mean(jnp.cos(matrix @ embedding - targets))

    def loss_fn(meta_params, global_params, examples):
      del global_params
      inputs = examples.meta_features['user'][0]
      return loss_of_embedding(
          meta_block.apply(meta_params, inputs, config=config)
      )

    params = meta_block.init(jax.random.key(0), config, num_features=2)
    adapted, _ = inner_loop.adapt(
        params,
        {},
        support,
        loss_fn=loss_fn,
        learning_rates=jax.tree.map(lambda _: jnp.full(3, 0.1), params),
    )
    expected = row
    for _ in range(3):
      expected = expected - 0.1 * jax.grad(loss_of_embedding)(expected)
    found = meta_block.apply(adapted, row, config=config)
    chex.assert_trees_all_close(found, expected, rtol=1e-5)


if __name__ == '__main__':
  absltest.main()
