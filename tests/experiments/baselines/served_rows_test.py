import dataclasses
import pathlib

from absl.testing import absltest
import numpy as np

from experiments import pipeline
from experiments.baselines import registry
from experiments.baselines import row_network
from experiments.baselines import served_rows
from limaml_jax.evaluation import baselines
from limaml_jax.evaluation import bootstrap
from limaml_jax.evaluation import replay
from limaml_jax.training import loop
from tests.experiments.baselines import daily_world


class ServedRowsTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.data = daily_world.make()
    cls.config = daily_world.make_config(inner_loop__num_steps=0)

  def replay(self, run_dir):
    config, data = self.config, self.data
    loop.train(config, data.table, data.info, run_dir)
    return pipeline.score_run(data, run_dir, run_dir / 'scores.parquet')

  def test_every_baseline_scores_the_rows_of_a_replay(self):
    workdir = pathlib.Path(self.create_tempdir().full_path)
    replayed = self.replay(workdir / 'run')
    self.assertGreater(np.unique(replayed.day).size, 2)
    for name, score in registry.REGISTRY.items():
      with self.subTest(name):
        scores = score(self.data, self.config, seed=0, workdir=workdir)
        bootstrap.refuse_different_rows(replayed, scores)
        for field in ('day', 'support_size', 'entity', 'label'):
          np.testing.assert_array_equal(
              getattr(scores, field), getattr(replayed, field)
          )

  def test_a_network_read_row_by_row_is_what_is_served(self):
    run_dir = pathlib.Path(self.create_tempdir().full_path)
    replayed = self.replay(run_dir)
    state, assembly = row_network.train(
        self.data, self.config, run_dir, lambda done, total: None
    )
    network = row_network.RowNetwork(assembly, self.data.table, 'user')
    rows = served_rows.list_rows(self.data)
    logits = network.logits(state.params, rows.entity, rows.event)
    np.testing.assert_allclose(
        1 / (1 + np.exp(-logits)), replayed.score, atol=1e-5
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
    first = replay.entity_cutoffs(data.table)[served_rows.owners(data)]
    times = data.table.timestamps
    np.testing.assert_array_equal(refreshed[is_test], first[is_test])
    np.testing.assert_array_equal(refreshed[~is_test], times[~is_test])


if __name__ == '__main__':
  absltest.main()
