import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from limaml_jax.blocks import global_block
from limaml_jax.export import program
from limaml_jax.export import scorer as scorer_lib
from limaml_jax.training import assembly as assembly_lib
from tests.training import small_run

_NUM_ROWS = 5000  # More than are scored at once.


@functools.cache
def make_scorer():
  """Returns a scorer, and the scores of all rows without it."""
  config = small_run.make_config(model__global_block__widths=(64, 32))
  _, info = small_run.make_data()
  model = assembly_lib.assemble(config, info).model
  shapes = jax.eval_shape(model.init, jax.random.key(0))
  rng = np.random.default_rng(0)
  normal = lambda x: jnp.asarray(rng.normal(0, 0.4, x.shape), x.dtype)
  params = jax.tree.map(normal, shapes)
  scorer = scorer_lib.Scorer(
      program.GlobalHalf(
          params=params.global_block,
          tables=params.tables,
          specs=model.global_specs,
          layout=model.layout,
          config=config.model.global_block,
      )
  )

  @jax.jit
  @jax.vmap
  def expected(vector, item, colors):
    items = params.tables['dimension_8'][item]
    real = colors >= 0
    rows = params.tables['dimension_4'][colors] * real[:, None]
    color = rows.sum(axis=0) / jnp.maximum(real.sum(), 1)
    features = jnp.concatenate([items, color])
    prepared = global_block.prepare(
        params.global_block, features, config=config.model.global_block
    )
    logit = model.logit(params.global_block, {'user': vector}, prepared)
    return jax.nn.sigmoid(logit)

  vectors, features = make_rows()
  scores = expected(vectors, features['item_id'], features['colors'])
  return scorer, np.asarray(scores)


def make_rows():
  rng = np.random.default_rng(1)
  vectors = rng.normal(size=(_NUM_ROWS, 4)).astype(np.float32)
  return vectors, {
      'item_id': rng.integers(0, 41, _NUM_ROWS).astype(np.int32),
      'colors': rng.integers(-1, 5, (_NUM_ROWS, 2)).astype(np.int32),
      'of_no_interest': np.zeros(_NUM_ROWS),
  }


class ScorerTest(parameterized.TestCase):

  @parameterized.parameters(1, 2, 16, 17, 300, 4096, 4097, _NUM_ROWS)
  def test_number_of_rows_does_not_matter(self, num_rows):
    scorer, expected = make_scorer()
    vectors, features = make_rows()
    scores = scorer.score(
        {'user': vectors[:num_rows]},
        {name: values[:num_rows] for name, values in features.items()},
    )
    self.assertGreater(np.std(expected), 0.1)
    np.testing.assert_allclose(scores, expected[:num_rows], atol=1e-6)

  @parameterized.parameters(1, 2, 16, 300, 4096, 4097)
  def test_other_rows_do_not_matter_to_the_bit(self, num_rows):
    scorer, _ = make_scorer()
    vectors, features = make_rows()
    everybody = scorer.score({'user': vectors}, features)
    last = slice(_NUM_ROWS - num_rows, None)
    scores = scorer.score(
        {'user': vectors[last]}, {n: x[last] for n, x in features.items()}
    )
    np.testing.assert_array_equal(scores, everybody[last])

  def test_no_rows_have_no_scores(self):
    scorer, _ = make_scorer()
    vectors, features = make_rows()
    scores = scorer.score(
        {'user': vectors[:0]},
        {name: values[:0] for name, values in features.items()},
    )
    self.assertEqual(scores.shape, (0,))


if __name__ == '__main__':
  absltest.main()
