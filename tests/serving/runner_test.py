import pathlib
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax.bundle import reading
from limaml_jax.serving import runner as runner_lib
from tests import drawn_bundle

_MAX_ENTITIES = 3


class RunnerTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    # Fewer sizes are sooner compiled.
    patch = mock.patch.object(runner_lib, '_ROWS', (4, 16))
    patch.start()
    cls.addClassCleanup(patch.stop)

  def setUp(self):
    super().setUp()
    root = pathlib.Path(self.create_tempdir().full_path) / 'bundle'
    self.model = drawn_bundle.make_model()
    drawn_bundle.write(root, self.model)
    self.bundle = reading.open_bundle(root)
    self.program = mock.Mock(
        side_effect=runner_lib.compiled(self.bundle.program)
    )
    self.runner = runner_lib.Runner(self.bundle, self.program, _MAX_ENTITIES)

  # Exactly a size, one less, one more, and more than the largest.
  @parameterized.parameters(
      (1, (0, 1, 3, 4, 5, 15, 16, 17, 32, 33, 50)), (2, (1, 4, 17)), (3, (5,))
  )
  def test_padding_is_invisible(self, num_entities, sizes):
    embeddings = drawn_bundle.draw_embeddings(num_entities, seed=1)
    for num_rows in sizes:
      features, packed = drawn_bundle.draw_features(num_rows, seed=num_rows)
      rng = np.random.default_rng(num_rows)
      rows = rng.integers(0, num_entities, num_rows).astype(np.int32)
      scores = self.runner.score(embeddings, rows, packed)
      expected = drawn_bundle.expected_scores(
          self.model, embeddings, rows, features
      )
      with self.subTest(num_rows):
        self.assertEqual(scores.shape, (num_rows,))
        np.testing.assert_allclose(scores, expected, atol=1e-6)

  def test_no_other_sizes_are_run_than_were_warmed_up(self):
    self.runner.warm_up()
    sizes = lambda: {
        tuple(array.shape for array in call.args[1:])
        for call in self.program.call_args_list
    }
    warm = sizes()
    self.assertLen(warm, 4)  # 1 and 3 entities, 4 and 16 rows.
    for num_entities in (1, 2, 3):
      for num_rows in (1, 4, 5, 16, 17, 40):
        _, packed = drawn_bundle.draw_features(num_rows)
        self.runner.score(
            drawn_bundle.draw_embeddings(num_entities, seed=1),
            np.zeros(num_rows, np.int32),
            packed,
        )
    self.assertEqual(sizes(), warm)

  def test_a_single_entity_needs_no_second_size(self):
    runner_lib.Runner(self.bundle, self.program, 1).warm_up()
    self.assertEqual(self.program.call_count, 2)


if __name__ == '__main__':
  absltest.main()
