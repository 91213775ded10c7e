"""Evaluations in shares, by a model of random parameters."""

import atexit
import dataclasses
import functools
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax import errors
from limaml_jax.evaluation import replay
from limaml_jax.evaluation import scores as scores_lib
from limaml_jax.evaluation import shares
from tests.refresh import small_refresh


def make_data(*, has_common_cutoffs):
  table, info, start = small_refresh.make_data()
  if has_common_cutoffs:
    cutoffs = (start + 9000, start + 20000, start + 30000)
    info = dataclasses.replace(info, cutoffs=cutoffs)
    # What comes from the first cutoff on is to be scored.
    before = np.add.reduceat(
        (table.timestamps < cutoffs[0]).astype(np.int64), table.offsets[:-1]
    )
    table = table._replace(num_history=before, num_train=before)
  return table, info, start


@functools.cache
def make_line(has_common_cutoffs):
  """Returns a line of which all tests may replay what they like."""
  folder = tempfile.TemporaryDirectory()
  atexit.register(folder.cleanup)
  data = make_data(has_common_cutoffs=has_common_cutoffs)
  return small_refresh.make_line(folder.name, data=data)


class SharesTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.use(has_common_cutoffs=True)

  def use(self, *, has_common_cutoffs):
    self.line = make_line(has_common_cutoffs)
    self.table = self.line.table
    self.rows = replay.test_rows(self.table, self.line.info)

  def replay_shares(self, owner, num_shares):
    return [
        self.line.replay(np.flatnonzero(owner == share))
        for share in range(num_shares)
    ]

  @parameterized.parameters((True, 2), (True, 3), (False, 2))
  def test_merged_is_the_replay_of_all_to_the_bit(self, is_common, num_shares):
    self.use(has_common_cutoffs=is_common)
    expected = self.line.replay()
    owner = shares.owners(self.table, num_shares)
    parts = self.replay_shares(owner, num_shares)
    merged = shares.merge(parts, self.rows, owner)
    self.assertGreater(expected.entity.size, 50)
    for part in parts:
      self.assertGreater(part.entity.size, 10)
    for name, column in merged._asdict().items():
      np.testing.assert_array_equal(column, getattr(expected, name), name)

  def test_a_share_of_nobody(self):
    owner = np.zeros(len(self.table.entity_keys), np.int64)
    parts = self.replay_shares(owner, 2)
    self.assertEqual(parts[1].entity.size, 0)
    merged = shares.merge(parts, self.rows, owner)
    np.testing.assert_array_equal(merged.score, parts[0].score)

  def test_shares_have_about_as_many_events(self):
    sizes = np.diff(self.table.offsets)
    owner = shares.owners(self.table, 4)
    events = np.bincount(owner, weights=sizes, minlength=4)
    self.assertEqual(events.sum(), sizes.sum())
    self.assertLess(np.ptp(events), sizes.max())
    self.assertLessEqual(np.ptp(np.bincount(owner)), 1)

  def test_the_larger_ones_are_dealt_there_and_back(self):
    # Of 4, 3, 2 and 1 events: 4 + 1 and 3 + 2.
    table = self.table._replace(offsets=np.asarray([0, 3, 7, 8, 10]))
    np.testing.assert_array_equal(shares.owners(table, 2), [1, 0, 0, 1])

  def test_scores_of_other_rows_are_refused(self):
    owner = shares.owners(self.table, 2)
    one, two = self.replay_shares(owner, 2)
    fewer = scores_lib.select(one, np.arange(one.entity.size - 1))
    other_day = one._replace(day=one.day[::-1])
    others = one._replace(entity=one.entity[::-1])
    for parts in (
        [two, one], [fewer, two], [other_day, two], [others, two], [one, one]
    ):  # fmt: skip
      with self.assertRaisesRegex(errors.InputError, '2 processes.*--data'):
        shares.merge(parts, self.rows, owner)


if __name__ == '__main__':
  absltest.main()
