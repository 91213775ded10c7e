"""A row of weight w is as good as w rows alike."""

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from limaml_jax.meta import embeddings
from tests.meta import small_network

_SUPPORT_WEIGHTS = np.asarray([3, 1, 1, 2])
_QUERY_WEIGHTS = np.asarray([1, 4, 2])


def weigh(examples, weights):
  mask = jnp.broadcast_to(weights, examples.mask.shape)
  return examples._replace(mask=jnp.asarray(mask, jnp.float32))


def repeat(examples, weights):
  """Repeats row n weights[n] times; the entity's one input row stays."""
  again = lambda x: jnp.repeat(x, weights, axis=1)
  return examples._replace(
      features=jax.tree.map(again, examples.features),
      labels=again(examples.labels),
      mask=again(examples.mask),
  )


class WeightsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.config = small_network.make_config()
    self.batch = small_network.make_meta_batch(self.config)

  def change(self, function):
    return self.batch._replace(
        support=function(self.batch.support, _SUPPORT_WEIGHTS),
        query=function(self.batch.query, _QUERY_WEIGHTS),
    )

  def test_in_the_loss_of_a_support_and_its_gradient(self):
    params = small_network.make_params(self.config)
    model = small_network.make_model(self.config)
    loss_fn = small_network.make_loss(self.config)

    def loss_and_gradient(batch):
      support = small_network.take_tasks(batch.support, 1)
      return jax.value_and_grad(loss_fn)(
          params.meta_block, params.global_block, model.encode(params, support)
      )

    weighed = loss_and_gradient(self.change(weigh))
    chex.assert_trees_all_close(
        weighed, loss_and_gradient(self.change(repeat)), rtol=1e-5, atol=1e-7
    )
    plain, _ = loss_and_gradient(self.batch)
    self.assertGreater(abs(float(weighed[0] - plain)), 1e-3)

  @parameterized.parameters('plain', 'low_rank')
  def test_in_the_meta_gradient(self, implementation):
    config = small_network.make_config(
        inner_loop__implementation=implementation
    )
    find = small_network.loss_and_grads(config)
    params = small_network.make_params(config)
    weighed = find(params, self.change(weigh))
    repeated = find(params, self.change(repeat))
    chex.assert_trees_all_close(weighed, repeated, rtol=1e-4, atol=1e-6)

  def test_in_the_meta_embedding(self):
    params = small_network.make_params(self.config)
    model = small_network.make_model(self.config)

    def embed(batch):
      support = small_network.take_tasks(batch.support, 1)
      return embeddings.meta_embedding(
          params,
          model.encode(params, support),
          embed=model.embed,
          loss_fn=small_network.make_loss(self.config),
          config=self.config,
      )['user']

    chex.assert_trees_all_close(
        embed(self.change(weigh)), embed(self.change(repeat)), rtol=1e-5
    )


if __name__ == '__main__':
  absltest.main()
