import functools
import hashlib
import os
import pathlib
import subprocess
import sys

from absl.testing import absltest
from absl.testing import parameterized
import jax
from jax import export as jax_export
import numpy as np
from scipy import special

from limaml_jax.bundle import columns as columns_lib
from limaml_jax.export import program
from tests import drawn_bundle

_REPOSITORY = pathlib.Path(__file__).parents[2]
_EXPORT = """
import hashlib
from tests.export import export_program_test
print(hashlib.sha256(export_program_test.export()).hexdigest())
"""


def export(seed=0, ensemble_size=1):
  half = drawn_bundle.make_model(seed, ensemble_size).half
  return program.export(
      half,
      columns_lib.Columns(half.specs),
      entity_type='user',
      dimension=drawn_bundle.DIMENSION * ensemble_size,
  )


class ProgramTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.artefact = export()
    cls.program = jax_export.deserialize(bytearray(cls.artefact))

  def score(self, model, embeddings, entity_of_row, packed):
    weights = program.flatten(model.half)
    return np.asarray(
        self.program.call(weights, embeddings, entity_of_row, *packed)
    )

  @parameterized.parameters(
      (1, 1), (1, 7), (3, 7), (7, 3), (5, 1), (2, 200), (64, 64)
  )
  def test_scores_are_those_of_the_model(self, num_entities, num_rows):
    model = drawn_bundle.make_model()
    features, packed = drawn_bundle.draw_features(num_rows, seed=num_rows)
    embeddings = drawn_bundle.draw_embeddings(num_entities, seed=3)
    rng = np.random.default_rng(4)
    rows = rng.integers(0, num_entities, num_rows).astype(np.int32)
    expected = drawn_bundle.expected_scores(model, embeddings, rows, features)
    scores = self.score(model, embeddings, rows, packed)
    self.assertEqual(scores.shape, (num_rows,))
    self.assertEqual(scores.dtype, np.float32)
    np.testing.assert_allclose(scores, expected, atol=1e-6)

  def test_scores_of_an_ensemble_are_of_the_mean_logit(self):
    model = drawn_bundle.make_model(0, ensemble_size=3)
    exported = jax_export.deserialize(bytearray(export(0, ensemble_size=3)))
    features, packed = drawn_bundle.draw_features(20)
    embeddings = drawn_bundle.draw_embeddings(
        2, seed=3, dimension=3 * drawn_bundle.DIMENSION
    )
    rows = np.arange(20, dtype=np.int32) % 2
    scores = np.asarray(
        exported.call(program.flatten(model.half), embeddings, rows, *packed)
    )
    logits = []
    for m, part in enumerate(np.split(embeddings, 3, axis=1)):
      take = functools.partial(jax.tree.map, lambda leaf: leaf[m])  # noqa: B023
      half = model.half
      half = half._replace(
          params=take(half.params), tables=take(half.tables), ensemble_size=1
      )
      one = model._replace(half=half)
      alone = drawn_bundle.expected_scores(one, part, rows, features)
      logits.append(special.logit(alone.astype(np.float64)))
    self.assertGreater(np.std(logits, axis=0).min(), 1e-3)
    expected = special.expit(np.mean(logits, axis=0))
    # A float32 probability near 1 does not tell its logit exactly.
    np.testing.assert_allclose(scores, expected, atol=1e-4)

  def test_scores_depend_on_every_feature_and_on_the_entity(self):
    model = drawn_bundle.make_model()
    columns = columns_lib.Columns(model.half.specs)
    _, packed = drawn_bundle.draw_features(64, seed=1)
    embeddings = drawn_bundle.draw_embeddings(2, seed=3)
    rows = np.zeros(64, np.int32)
    scores = self.score(model, embeddings, rows, packed)
    for name, column in columns.by_name.items():
      ids, numbers = packed.ids.copy(), packed.numbers.copy()
      changed = numbers if column.is_number else ids
      columns_of = np.s_[:, column.start : column.stop]
      changed[columns_of] = np.roll(changed[columns_of], 1, axis=0)
      other = self.score(model, embeddings, rows, (ids, numbers))
      self.assertGreater(np.abs(other - scores).max(), 1e-3, name)
    other = self.score(model, embeddings, rows + 1, packed)
    self.assertGreater(np.abs(other - scores).max(), 1e-3)

  def test_other_weights_need_no_other_program(self):
    other = drawn_bundle.make_model(1)
    features, packed = drawn_bundle.draw_features(50)
    embeddings = drawn_bundle.draw_embeddings(1, seed=3)
    rows = np.zeros(50, np.int32)
    expected = drawn_bundle.expected_scores(other, embeddings, rows, features)
    scores = self.score(other, embeddings, rows, packed)
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    first = self.score(
        drawn_bundle.make_model(), embeddings, rows, packed
    )
    self.assertGreater(np.abs(scores - first).max(), 0.1)

  def test_weights_do_not_stand_in_the_program(self):
    for name, array in program.flatten(
        drawn_bundle.make_model().half
    ).items():
      raw = array.tobytes()
      if len(raw) >= 16:
        self.assertNotIn(raw, self.artefact, name)

  def test_other_weights_have_the_same_bytes(self):
    self.assertEqual(export(seed=1), self.artefact)

  def test_another_process_exports_the_same_bytes(self):
    again = subprocess.run(
        [sys.executable, '-c', _EXPORT],
        env=os.environ | {'JAX_PLATFORMS': 'cpu'},
        cwd=_REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    self.assertEqual(again, hashlib.sha256(self.artefact).hexdigest())

  def test_no_path_of_the_exporting_machine_is_told(self):
    self.assertNotIn(b'.py', self.artefact)
    self.assertNotIn(str(_REPOSITORY).encode(), self.artefact)

  def test_settings_of_jax_are_as_before(self):
    before = jax.config.jax_traceback_in_locations_limit
    export()
    self.assertEqual(jax.config.jax_traceback_in_locations_limit, before)
    self.assertNotEqual(before, 0)

  def test_runs_on_all_platforms(self):
    self.assertEqual(self.program.platforms, ('cpu', 'cuda', 'tpu'))


if __name__ == '__main__':
  absltest.main()
