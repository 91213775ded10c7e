import math

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp

from limaml_jax import types
from limaml_jax.meta import task_loss


def embed(meta_params, meta_features):
  return {t: rows * meta_params for t, rows in meta_features.items()}


def logit(global_params, embeddings, features):
  return global_params * embeddings['user'][0] + features[0]


def make_examples(inputs, features, labels, mask):
  column = lambda values: jnp.asarray(values)[:, None]
  return types.Examples(
      meta_features={'user': column(inputs)},
      features=column(features),
      labels=jnp.asarray(labels),
      mask=jnp.asarray(mask),
  )


class TaskLogitsTest(absltest.TestCase):

  def score(self, inputs):
    examples = make_examples(inputs, [1.0, 2.0], [0.0, 1.0], [1.0, 1.0])
    return task_loss.task_logits(
        jnp.asarray(2.0), jnp.asarray(3.0), examples, embed=embed, logit=logit
    )

  def test_one_input_row_serves_all_rows(self):
    # 3 * (2 * 0.5) + [1, 2].
    chex.assert_trees_all_close(self.score([0.5]), jnp.asarray([4.0, 5.0]))

  def test_each_row_may_have_an_input_row(self):
    # 3 * (2 * [0.5, 1]) + [1, 2].
    chex.assert_trees_all_close(self.score([0.5, 1]), jnp.asarray([4.0, 8.0]))


class TaskLossTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.loss_fn = task_loss.make_task_loss(embed, logit)

  def compute(self, labels, mask):
    # Logits are 0 and log 3, probabilities 1/2 and 3/4.
    features = [0.0, math.log(3)]
    examples = make_examples([0.0], features, labels, mask)
    return float(self.loss_fn(jnp.asarray(1.0), jnp.asarray(1.0), examples))

  def test_is_the_mean_cross_entropy(self):
    expected = -(math.log(1 / 2) + math.log(1 / 4)) / 2
    self.assertAlmostEqual(self.compute([1.0, 0.0], [1.0, 1.0]), expected, 6)

  def test_divides_by_the_real_rows(self):
    self.assertAlmostEqual(
        self.compute([1.0, 0.0], [0.0, 1.0]), -math.log(1 / 4), 6
    )

  @parameterized.parameters(
      # log 2 at the first row, log 4 at the second.
      ([2.0, 1.0], (2 * math.log(2) + math.log(4)) / 3),
      ([0.5, 0.1], (0.5 * math.log(2) + 0.1 * math.log(4)) / 0.6),
      ([0.0, 1e-3], math.log(4)),
  )
  def test_rows_count_by_their_weight(self, mask, expected):
    self.assertAlmostEqual(self.compute([1.0, 0.0], mask), expected, 6)

  def test_is_zero_without_a_real_row(self):
    self.assertEqual(self.compute([1.0, 0.0], [0.0, 0.0]), 0.0)

  def test_has_zero_gradient_without_a_real_row(self):
    examples = make_examples([1.0], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0])
    gradient = jax.grad(self.loss_fn)(1.0, 1.0, examples)
    self.assertEqual(float(gradient), 0.0)


class QueryLossTest(parameterized.TestCase):

  @parameterized.parameters(
      # Embeddings of the support are 2 * (1, 3, 2); the last is of padding.
      ('latest', 6.0),
      ('mean', 4.0),
      ('max', 6.0),
  )
  def test_scores_with_the_embedding_of_the_support(self, pooling, pooled):
    support = make_examples(
        [1.0, 3.0, 2.0], [9.0] * 3, [0.0] * 3, [1.0, 1.0, 0.0]
    )
    # Loud inputs of its own, which serving will not know.
    query = make_examples([50.0, 60.0], [1.0, 2.0], [1.0, 1.0], [1.0, 0.0])
    query_loss = task_loss.make_query_loss(embed, logit, pooling=pooling)
    loss = query_loss(jnp.asarray(2.0), jnp.asarray(0.1), support, query)
    # One real row, of logit 0.1 * pooled + 1.
    expected = math.log1p(math.exp(-(0.1 * pooled + 1)))
    self.assertAlmostEqual(float(loss), expected, 6)


if __name__ == '__main__':
  absltest.main()
