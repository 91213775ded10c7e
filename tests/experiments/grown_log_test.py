"""A model meets the log of the next day."""

import pathlib
import shutil
import tempfile

from absl.testing import absltest
import numpy as np

from experiments import pipeline
from limaml_jax import errors
from limaml_jax.store import lookup
from limaml_jax.training import loop
from tests.experiments import commands
from tests.training import small_run

# Later than all of the log's events; item 31 and user 99 are new.
_NEXT_DAY = [
    f'{user}\t{item}\t{rating}\t{881_000_000 + item}'
    for user in (1, 99) for item, rating in ((3, 1), (4, 5), (31, 5), (6, 1))
]  # fmt: skip


class GrownLogTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.config = small_run.make_config(data__schema='ml100k')
    cls.root = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.root)
    cls.run_dir = cls.root / 'run'
    commands.write_log(cls.root / 'raw')
    cls.data = cls.prepare('first')
    loop.train(cls.config, cls.data.table, cls.data.info, cls.run_dir)
    log = cls.root / 'raw' / 'ml-100k.inter'
    log.write_text(log.read_text() + '\n'.join(_NEXT_DAY) + '\n')
    cls.grown = cls.prepare('grown', encoding_of=cls.data.directory)

  @classmethod
  def prepare(cls, name, **options):
    output = cls.root / name
    pipeline.prepare(cls.config, cls.root / 'raw', output, **options)
    return pipeline.load(output)

  def refresh(self, data):
    """Publishes all entities of a dataset, and returns a look-up in them."""
    store = pathlib.Path(self.create_tempdir().full_path)
    served = pipeline.restore(data, self.run_dir, store=store)
    served.refresher.publish(data.info.test_end)
    return lookup.Reader(
        store, 'user', fingerprint=served.refresher.fingerprint
    )

  def test_a_trained_model_adapts_to_the_new_events(self):
    keys = ['1', '7', '99']
    with self.refresh(self.data) as store:
      before = store.lookup(keys, now=881_000_100)
    with self.refresh(self.grown) as store:
      after = store.lookup(keys, now=881_000_100)
    present, missing = lookup.Status.PRESENT, lookup.Status.MISSING
    self.assertEqual(before.statuses.tolist(), [present, present, missing])
    self.assertEqual(after.statuses.tolist(), [present] * 3)
    # User 7 did nothing new; what was missing had the default embedding.
    np.testing.assert_allclose(
        after.vectors[1], before.vectors[1], rtol=1e-5, atol=1e-6
    )
    for row in (0, 2):
      difference = np.abs(after.vectors[row] - before.vectors[row]).max()
      self.assertGreater(difference, 1e-4)
    # The latest event is of item 31, at 881,000,031.
    self.assertEqual(after.ages[[0, 2]].tolist(), [69, 69])

  def test_embeddings_of_both_days_fit_one_global_block(self):
    store = self.root / 'store'
    found = {
        pipeline.restore(data, self.run_dir, store=store).refresher.fingerprint
        for data in (self.data, self.grown)
    }
    self.assertLen(found, 1)

  def test_a_fitted_encoding_is_refused(self):
    fitted = self.prepare('fitted')
    with self.assertRaisesRegex(
        errors.InputError, 'config.json: .*prepare --encoding_of=DIR`'
    ):
      pipeline.restore(fitted, self.run_dir, store=self.root / 'store')

  def test_training_does_not_go_on_with_other_contents(self):
    with self.assertRaisesRegex(errors.InputError, 'dataset fingerprint was'):
      loop.train(
          self.config, self.grown.table, self.grown.info, self.run_dir
      )


if __name__ == '__main__':
  absltest.main()
