import dataclasses
import pathlib
import shutil
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments import pipeline
from experiments.baselines import last_layer
from experiments.baselines import registry
from experiments.baselines import request as request_lib
from experiments.baselines import row_network
from experiments.baselines import served_rows
from experiments.baselines import trees
from experiments.baselines import tuning
from limaml_jax.data import dataset
from limaml_jax.evaluation import baselines
from limaml_jax.evaluation import bootstrap
from limaml_jax.evaluation import replay
from limaml_jax.training import loop
from tests.experiments.baselines import daily_world


class ServedRowsTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.workdir = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.workdir)
    cls.data = daily_world.make()
    cls.config = daily_world.make_config(
        inner_loop__num_steps=0, training__checkpoint_every=10
    )
    # Where the last layer looks for its network, which is then trained once.
    cls.run_dir = cls.workdir / last_layer.VARIANT / 'seed_0'
    loop.train(cls.config, cls.data.table, cls.data.info, cls.run_dir)
    cls.replayed = pipeline.score_run(
        cls.data, cls.run_dir, cls.workdir / 'scores.parquet'
    )

  # The other trees differ in settings alone.
  @parameterized.parameters(
      registry.TREES, registry.GLMIX, registry.LAST_LAYER, registry.DAILY_IDS
  )
  def test_a_baseline_scores_the_rows_of_a_replay(self, name):
    self.assertGreater(np.unique(self.replayed.day).size, 2)
    settings = {}
    if name == registry.TREES:
      settings['settings'] = trees.Settings(num_trees=5)
    request = request_lib.Request(self.data, self.config, 0, self.workdir)
    scores = tuning.SEARCHED[name](request, **settings)
    bootstrap.refuse_different_rows(self.replayed, scores)
    for field in ('day', 'support_size', 'entity', 'label'):
      np.testing.assert_array_equal(
          getattr(scores, field), getattr(self.replayed, field)
      )

  def test_a_network_read_row_by_row_is_what_is_served(self):
    state, assembly = row_network.train(
        self.data, self.config, self.run_dir, lambda done, total: None
    )
    network = row_network.RowNetwork(assembly, 'user', ensemble_size=1)
    rows = served_rows.list_rows(self.data)
    logits = network.logits(
        state.params, self.data.table, rows.entity, rows.event
    )
    np.testing.assert_allclose(
        1 / (1 + np.exp(-logits)), self.replayed.score, atol=1e-5
    )

  def test_refreshes_before_the_first_cutoff_are_a_period_apart(self):
    times = self.data.table.timestamps
    refreshed = served_rows.refresh_times(self.data)
    # Cutoffs are at midnight.
    np.testing.assert_array_equal(
        refreshed, times // daily_world.DAY * daily_world.DAY
    )

  def test_an_entity_with_a_cutoff_of_its_own_refreshes_there(self):
    info = dataclasses.replace(self.data.info, cutoffs=(), refresh_seconds=0)
    data = self.data._replace(info=info)
    refreshed = served_rows.refresh_times(data)
    is_test = ~baselines.leading_mask(
        data.table.offsets, data.table.num_history
    )
    first = replay.entity_cutoffs(data.table)[dataset.event_owners(data.table)]
    times = data.table.timestamps
    np.testing.assert_array_equal(refreshed[is_test], first[is_test])
    np.testing.assert_array_equal(refreshed[~is_test], times[~is_test])


if __name__ == '__main__':
  absltest.main()
