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
    # The first one that has an event before it; the next one after the last
    # would be too late.
    self.assertGreater(found[0], start)
    self.assertLessEqual(found[0] - _STEP, start)
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
    self.by_time = {time: {} for time in (timeline.BEGINNING, *self.cutoffs)}
    for found in timeline.versions(self.refresher, self.cutoffs):
      self.by_time[found.valid_from] |= dict(
          zip(found.entity_keys.tolist(), found.vectors, strict=True)
      )

  def full(self, cutoff):
    """Returns what a refresh of everybody makes, by key."""
    return {
        self.table.entity_keys[entity]: vector
        for chunk in self.refresher.generate(self.refresher.plan(cutoff))
        for entity, vector in zip(chunk.entities, chunk.vectors, strict=True)
    }

  def test_at_each_cutoff_they_are_what_a_full_refresh_makes(self):
    held = {}
    for cutoff, found in self.by_time.items():
      held |= found
      expected = self.full(cutoff)
      self.assertSameElements(held, expected)
      for key, vector in expected.items():
        np.testing.assert_array_equal(held[key], vector)

  def test_only_who_had_events_since_has_a_new_one(self):
    first, *later = self.by_time
    self.assertLen(self.by_time[first], small_refresh.NUM_ENTITIES)
    owners = np.repeat(self.table.entity_keys, np.diff(self.table.offsets))
    times, sizes = self.table.timestamps, set()
    for since, cutoff in zip([0, *later[:-1]], later, strict=True):
      had = owners[(times >= since) & (times < cutoff)]
      self.assertSameElements(self.by_time[cutoff], had)
      sizes.add(len(self.by_time[cutoff]))
    self.assertLess(min(sizes), small_refresh.NUM_ENTITIES / 2)

  def test_tells_of_each_refresh(self):
    told = []
    on_progress = lambda done, total: told.append((done, total))
    list(timeline.versions(self.refresher, self.cutoffs[:3], on_progress))
    self.assertEqual(told, [(1, 3), (2, 3), (3, 3)])


if __name__ == '__main__':
  absltest.main()
