import dataclasses
import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax import errors
from limaml_jax.refresh import timeline
from tests.refresh import small_refresh

_STEP = 4000


def with_refreshes(info, first):
  return dataclasses.replace(info, cutoffs=(first,), refresh_seconds=_STEP)


class CutoffsTest(parameterized.TestCase):

  @parameterized.parameters(1, _STEP - 1, _STEP, 5 * _STEP, 5 * _STEP + 1, -1)
  def test_they_lie_around_the_protocols_own_from_before_all_events(
      self, since_start
  ):
    table, info, start = small_refresh.make_data()
    own = start + since_start
    found = timeline.cutoffs(with_refreshes(info, own), table)
    np.testing.assert_array_equal(np.diff(found), _STEP)
    self.assertEqual((own - found[0]) % _STEP, 0)
    self.assertLess(found[0], start)
    # No earlier one than it takes; the next one would be too late.
    self.assertGreaterEqual(found[1], start)
    last = int(table.timestamps.max())
    self.assertLessEqual(found[-1], last)
    self.assertGreater(found[-1] + _STEP, last)

  def test_refuses_entities_that_have_cutoffs_of_their_own(self):
    table, info, _ = small_refresh.make_data()
    with self.assertRaisesRegex(errors.InputError, 'refresh_hours'):
      timeline.cutoffs(info, table)


class VersionsTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    table, info, start = small_refresh.make_data()
    store = pathlib.Path(self.create_tempdir().full_path) / 'store'
    line = small_refresh.make_line(store)
    self.table, self.refresher = table, line.refresher
    self.cutoffs = timeline.cutoffs(with_refreshes(info, start + 9000), table)
    self.versions = list(timeline.versions(self.refresher, self.cutoffs))

  def full(self, cutoff):
    """Returns what a refresh of everybody makes, [entities, E]."""
    chunks = list(self.refresher.generate(self.refresher.plan(cutoff)))
    found = np.zeros((len(self.table.entity_keys), chunks[0].vectors.shape[1]))
    for chunk in chunks:
      found[chunk.entities] = chunk.vectors
    return found

  def test_at_each_cutoff_they_are_what_a_full_refresh_makes(self):
    place = {key: n for n, key in enumerate(self.table.entity_keys)}
    by_cutoff = {found.valid_from: found for found in self.versions}
    held = np.full_like(self.full(self.cutoffs[0]), np.nan)
    for cutoff in self.cutoffs:
      if cutoff in by_cutoff:
        found = by_cutoff[cutoff]
        held[[place[key] for key in found.entity_keys]] = found.vectors
      np.testing.assert_array_equal(held, self.full(cutoff))

  def test_only_who_had_events_since_has_a_new_one(self):
    first, *later = self.versions
    self.assertLen(first.entity_keys, small_refresh.NUM_ENTITIES)
    self.assertNotEmpty(later)
    owners = np.repeat(self.table.entity_keys, np.diff(self.table.offsets))
    for found in later:
      times = self.table.timestamps
      since = found.valid_from - _STEP
      had = owners[(times >= since) & (times < found.valid_from)]
      self.assertSameElements(found.entity_keys, had)
      self.assertLess(len(found.entity_keys), small_refresh.NUM_ENTITIES)

  def test_tells_of_each_cutoff(self):
    told = []
    on_progress = lambda done, total: told.append((done, total))
    list(timeline.versions(self.refresher, self.cutoffs[:3], on_progress))
    self.assertEqual(told, [(1, 3), (2, 3), (3, 3)])


if __name__ == '__main__':
  absltest.main()
