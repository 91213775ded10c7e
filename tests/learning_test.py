import pathlib
import shutil
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from limaml_jax import config as config_lib
from limaml_jax import overrides
from limaml_jax.evaluation import metrics
from limaml_jax.training import loop
from tests import serving_line
from tests import synthetic

_SETTINGS = {
    'episodes.tasks_per_step': 32,
    'episodes.support_buckets': (16,),
    'episodes.query_buckets': (8,),
    'model.meta_block.widths': (8,),
    'model.meta_block.embedding_size': 8,
    'model.global_block.widths': (16,),
    'inner_loop.learning_rate': 5.0,
    'outer_loop.num_epochs': 20,
    'outer_loop.learning_rate': 2e-2,
    'outer_loop.table_learning_rate': 2e-2,
    'training.checkpoint_every': 1000,
    'refresh.entities_per_chunk': 64,
}


class LearningTest(absltest.TestCase):
  """Tastes are in no feature: what is scored well was learned from events."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.directory = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.directory)
    cls.data = synthetic.make_tasks(num_entities=200)
    cls.config = overrides.override(config_lib.Config(), _SETTINGS)
    cls.params = loop.train(
        cls.config, *cls.data, cls.directory / 'run'
    ).params

  def roc_auc(self, *, adapt):
    line = serving_line.make_line(
        *self.data,
        self.params,
        config=self.config,
        store=self.directory / f'store_{adapt}',
        adapt=adapt,
    )
    rows = line.replay()
    return metrics.RocAuc.from_scores(rows.score, rows.label).compute()

  def test_adapted_embeddings_rank_as_served(self):
    # Labels are noisy: even the true taste has no more than 0.9.
    self.assertGreater(self.roc_auc(adapt=True), 0.7)

  def test_unadapted_embeddings_know_no_taste(self):
    self.assertLess(self.roc_auc(adapt=False), 0.6)


class AmortizedLearningTest(parameterized.TestCase):
  """Without inner steps, only a history encoder can tell a taste."""

  @parameterized.parameters(('mlp', 0.4, 0.56), ('deep_sets', 0.6, 1.0))
  def test_ranks_as_served(self, kind, at_least, at_most):
    directory = pathlib.Path(self.create_tempdir().full_path)
    config = overrides.override(
        config_lib.Config(),
        _SETTINGS
        | {
            'model.meta_block.kind': kind,
            'model.meta_block.history_width': 16,
            'inner_loop.num_steps': 0,
            'outer_loop.learning_rate': 1e-2,
        },
    )
    data = synthetic.make_tasks(num_entities=200)
    params = loop.train(config, *data, directory / 'run').params
    line = serving_line.make_line(
        *data, params, config=config, store=directory / 'store'
    )
    rows = line.replay()
    roc_auc = metrics.RocAuc.from_scores(rows.score, rows.label).compute()
    self.assertBetween(roc_auc, at_least, at_most)


if __name__ == '__main__':
  absltest.main()
