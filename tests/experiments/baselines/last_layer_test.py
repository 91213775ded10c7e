import dataclasses
import pathlib
import shutil
import tempfile
from unittest import mock

from absl.testing import absltest
import jax
import numpy as np

from experiments import variants
from experiments.baselines import last_layer
from experiments.baselines import request as request_lib
from experiments.baselines import row_network
from limaml_jax import errors
from limaml_jax import overrides
from limaml_jax.data import dataset
from limaml_jax.evaluation import metrics
from limaml_jax.training import assembly as assembly_lib
from limaml_jax.training import checkpoint
from tests.experiments.baselines import daily_world


class LastLayerTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.workdir = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.workdir)
    cls.data = daily_world.make(num_entities=40)
    # Histories are for LiMAML: the network that is fitted has none.
    cls.config = daily_world.make_config(
        model__meta_block__kind='deep_sets',
        model__global_block__widths=(16,),
        outer_loop__num_epochs=4,
        training__checkpoint_every=10,
    )
    # Trained once; what follows reads its checkpoints.
    cls.scores = cls.score()

  @classmethod
  def score(cls, data=None, workdir=None, config=None, **settings):
    request = request_lib.Request(
        data or cls.data, config or cls.config, seed=0,
        workdir=workdir or cls.workdir,
    )  # fmt: skip
    settings = dataclasses.replace(last_layer.Settings(), **settings)
    return last_layer.score(request, settings)

  def train(self):
    """Returns the trained network, which is there already."""
    return row_network.train(
        self.data,
        variants.apply(last_layer.VARIANT, self.config),
        self.workdir / last_layer.VARIANT / 'seed_0',
        lambda done, total: None,
    )

  def test_fits_the_taste_of_entities(self):
    roc_auc = lambda s: metrics.RocAuc.from_scores(s.score, s.label).compute()
    fitted = self.score(bias_precision=0.5, kernel_precision=0.1)
    # A prior so strong that the layer stays what training left.
    trained = self.score(bias_precision=1e9, kernel_precision=1e9)
    self.assertGreater(roc_auc(fitted), roc_auc(trained) + 0.02)

  def test_fits_all_last_layers_of_an_ensemble(self):
    config = overrides.override(self.config, {'model.ensemble_size': 2})
    workdir = pathlib.Path(self.create_tempdir().full_path)
    scores = self.score(config=config, workdir=workdir)
    correlation = np.corrcoef(scores.score, self.scores.score)[0, 1]
    self.assertGreater(correlation, 0.5)
    self.assertLess(correlation, 1.0)

  def test_learns_nothing_from_a_refresh_on(self):
    cutoff = self.data.info.cutoffs[1]
    after = self.score(daily_world.relabel(self.data, cutoff))
    same = self.scores.score == after.score
    self.assertTrue(np.all(same[after.day <= 1]))
    self.assertFalse(np.all(same[after.day > 1]))

  def test_learns_targets_as_its_network_does(self):
    table = self.data.table
    labels = table._replace(labels=1 - table.labels)
    after = self.score(self.data._replace(table=labels))
    np.testing.assert_array_equal(after.score, self.scores.score)
    targets = table._replace(targets=1 - table.targets)
    after = self.score(self.data._replace(table=targets))
    self.assertGreater(np.abs(after.score - self.scores.score).max(), 0.1)

  def test_a_logit_is_linear_in_what_the_last_layer_reads(self):
    state, assembly = self.train()
    self.check_linear(state.params, assembly)

  def test_a_logit_is_linear_in_the_last_layers_of_an_ensemble(self):
    config = overrides.override(self.config, {'model.ensemble_size': 3})
    config = variants.apply(last_layer.VARIANT, config)
    assembly = assembly_lib.assemble(config, self.data.info)
    params = assembly.model.init(jax.random.key(0))
    self.check_linear(params, assembly, size=3)

  def check_linear(self, params, assembly, size=1):
    network = row_network.RowNetwork(assembly, 'user', ensemble_size=size)
    entity = dataset.event_owners(self.data.table)
    event = np.arange(entity.size)
    rows = self.data.table, entity, event
    inputs = network.last_inputs(params, *rows)
    self.assertEqual(inputs.shape, (event.size, 16 * size + 1))
    np.testing.assert_allclose(inputs[:, 0], 1.0, rtol=1e-6)
    before = network.logits(params, *rows)
    move = np.linspace(-1, 1, 16 * size, dtype=np.float32)
    block = dict(params.global_block)
    kernel = block['last']['kernel']
    block['last'] = block['last'] | {
        'kernel': kernel + move.reshape(kernel.shape)
    }
    moved = params._replace(global_block=block)
    change = inputs[:, 1:] @ move / np.sqrt(size)
    self.assertGreater(np.abs(change).max(), 0.01)
    np.testing.assert_allclose(
        network.logits(moved, *rows), before + change, atol=1e-4
    )

  def test_the_network_is_the_best_that_was_judged(self):
    run_dir = self.workdir / last_layer.VARIANT / 'seed_0'
    steps = sorted(int(p.name) for p in (run_dir / 'checkpoints').iterdir())
    self.assertGreater(len(steps), 1)
    with mock.patch.object(checkpoint.Checkpoints, 'best_step', steps[0]):
      state, _ = self.train()
    self.assertEqual(int(state.step), steps[0])

  def test_a_network_of_histories_is_refused(self):
    with self.assertRaisesRegex(errors.InputError, "kind is 'deep_sets'"):
      row_network.train(
          self.data, self.config, self.workdir / 'x', lambda done, total: None
      )


if __name__ == '__main__':
  absltest.main()
