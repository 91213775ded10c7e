from absl.testing import absltest
import numpy as np

from limaml_jax.refresh import quality
from limaml_jax.store import contents
from tests.refresh import small_refresh


class QualityTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.days = small_refresh.cutoffs()
    self.line = small_refresh.make_line(self.create_tempdir().full_path)
    self.table = self.line.table
    self.dir = self.create_tempdir().full_path

  def rows(self, max_entities=1000):
    return quality.window_rows(
        self.line.refresher,
        self.days[3],
        self.days[6],
        max_entities=max_entities,
    )

  def refresh(self, day):
    outcome = small_refresh.refresh(self.line, self.days[day], self.dir)
    return contents.load(
        self.line.refresher.store, 'user', outcome.manifest.version
    )

  def score(self, previous, now):
    """Scores the window; returns what was scored with, and the result."""
    vectors = []

    def score(rows, features):
      del features
      vectors.append(rows)
      return rows[:, 0]

    scored = quality.score_window(
        self.line.refresher,
        self.rows(),
        self.days[3],
        contents=now,
        previous=previous,
        names=self.line.assembly.names.regular,
        score=score,
    )
    return vectors, scored

  def test_rows_are_the_events_of_the_window(self):
    rows = self.rows()
    times = self.table.timestamps
    expected = np.flatnonzero(
        (times >= self.days[3]) & (times < self.days[6])
    )
    np.testing.assert_array_equal(rows.event, expected)
    self.assertTrue((self.table.offsets[rows.entity] <= rows.event).all())
    self.assertTrue((rows.event < self.table.offsets[rows.entity + 1]).all())

  def test_of_many_entities_some_with_all_of_their_events(self):
    everybody, some = self.rows(), self.rows(max_entities=5)
    chosen = np.unique(some.entity)
    self.assertLen(chosen, 5)
    self.assertCountEqual(
        some.event, everybody.event[np.isin(everybody.entity, chosen)]
    )

  def test_each_way_has_its_vectors(self):
    before, now = self.refresh(3), self.refresh(6)
    (previous, fresh, replayed), scored = self.score(before, now)
    entity = self.rows().entity
    np.testing.assert_array_equal(previous, before.vectors[entity])
    # Of events before the window alone, which the published one has seen, too.
    np.testing.assert_array_equal(fresh, before.vectors[entity])
    np.testing.assert_array_equal(replayed, now.vectors[entity])
    self.assertGreater(np.abs(replayed - fresh).max(), 0)
    found = scored.compared()
    self.assertEqual(found['quality'].difference, 0)
    self.assertEqual(found['quality'].against, 'snapshot 00000001')

  def test_labels_judge_whatever_the_targets(self):
    now = self.refresh(6)
    _, expected = self.score(None, now)
    # Those of the window, from which none of what is compared is learned.
    later = self.table.timestamps >= self.days[3]
    targets = np.where(later, 1 - self.table.targets, self.table.targets)
    self.line.refresher.table = self.table._replace(targets=targets)
    _, found = self.score(None, now)
    self.assertEqual(found.compared(), expected.compared())

  def test_without_a_snapshot_before_it_is_the_default_embedding(self):
    now = self.refresh(6)
    (previous, *_), scored = self.score(None, now)
    default = np.asarray(now.manifest.default_embedding, np.float32)
    np.testing.assert_array_equal(
        previous, np.tile(default, (len(previous), 1))
    )
    self.assertEqual(
        scored.compared()['replay'].against, 'unadapted embeddings'
    )

  def test_nothing_to_score(self):
    rows = quality.window_rows(
        self.line.refresher, 0, 1, max_entities=10
    )
    self.assertEqual(rows.event.size, 0)


if __name__ == '__main__':
  absltest.main()
