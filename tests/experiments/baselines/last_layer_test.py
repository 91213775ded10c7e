import dataclasses
import pathlib

from absl.testing import absltest
import numpy as np

from experiments.baselines import last_layer
from experiments.baselines import row_network
from experiments.baselines import served_rows
from limaml_jax.evaluation import metrics
from tests.experiments.baselines import daily_world


class LastLayerTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.workdir = pathlib.Path(self.create_tempdir().full_path)
    self.data = daily_world.make(num_entities=60)
    self.config = daily_world.make_config(
        model__global_block__widths=(16,), outer_loop__num_epochs=4
    )

  def score(self, data=None, **settings):
    return last_layer.score(
        data or self.data,
        self.config,
        seed=0,
        workdir=self.workdir,
        settings=dataclasses.replace(last_layer.Settings(), **settings),
    )

  def test_fits_the_taste_of_entities(self):
    roc_auc = lambda s: metrics.RocAuc.from_scores(s.score, s.label).compute()
    fitted = self.score(bias_precision=0.5, kernel_precision=0.1)
    # A prior so strong that the layer stays what training left.
    trained = self.score(bias_precision=1e9, kernel_precision=1e9)
    self.assertGreater(roc_auc(fitted), roc_auc(trained) + 0.02)

  def test_learns_nothing_from_a_refresh_on(self):
    cutoff = self.data.info.cutoffs[1]
    before = self.score()
    after = self.score(daily_world.relabel(self.data, cutoff))
    same = before.score == after.score
    self.assertTrue(np.all(same[before.day <= 1]))
    self.assertFalse(np.all(same[before.day > 1]))

  def test_a_logit_is_linear_in_what_the_last_layer_reads(self):
    config = dataclasses.replace(
        self.config,
        inner_loop=dataclasses.replace(self.config.inner_loop, num_steps=0),
    )
    state, assembly = row_network.train(
        self.data, config, self.workdir, lambda done, total: None
    )
    network = row_network.RowNetwork(assembly, self.data.table, 'user')
    entity = served_rows.owners(self.data)
    event = np.arange(entity.size)
    inputs = network.last_inputs(state.params, entity, event)
    self.assertEqual(inputs.shape, (event.size, 17))
    np.testing.assert_array_equal(inputs[:, 0], 1.0)
    before = network.logits(state.params, entity, event)
    move = np.linspace(-1, 1, 16, dtype=np.float32)
    block = dict(state.params.global_block)
    block['last'] = block['last'] | {
        'kernel': block['last']['kernel'] + move[:, None]
    }
    moved = state.params._replace(global_block=block)
    np.testing.assert_allclose(
        network.logits(moved, entity, event),
        before + inputs[:, 1:] @ move,
        atol=1e-4,
    )


if __name__ == '__main__':
  absltest.main()
