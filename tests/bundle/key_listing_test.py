import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax.bundle import key_table

RECORD = np.dtype([('row', '<i4')])
LONG = 'b' * 600  # The table has only its digest.


class KeyListingTest(parameterized.TestCase):

  def make(self, keys):
    path = pathlib.Path(self.create_tempdir().full_path) / 'table'
    key_table.write(path, keys, np.zeros(len(keys), RECORD))
    unknown = np.zeros((), RECORD)
    return key_table.open_table(path, len(keys), RECORD, unknown)

  @parameterized.named_parameters(
      ('everything', '', ['a', 'b', 'ba', 'bb', 'ö']),
      ('some', 'b', ['b', 'ba', 'bb']),
      ('one_of_two_bytes', 'ö', ['ö']),
      ('nothing', 'c', []),
      ('beyond_the_last', '\U0010ffff', []),
      ('longer_than_any', LONG, []),
  )
  def test_lists_what_begins_so(self, prefix, expected):
    table = self.make(['bb', 'a', LONG, 'ö', 'ba', 'b'])
    self.assertEqual(table.keys(prefix, limit=9), expected)

  def test_lists_no_more_than_the_limit(self):
    self.assertEqual(self.make(['b', 'c', 'a']).keys(limit=2), ['a', 'b'])

  def test_a_sample_of_all_is_all(self):
    self.assertEqual(
        self.make(['b', LONG, 'a']).sample(3, seed=0), ['a', 'b']
    )

  def test_every_key_is_as_likely_in_a_sample(self):
    table = self.make([str(i) for i in range(5)])
    counts = dict.fromkeys('01234', 0)
    for seed in range(1000):
      found = table.sample(2, seed=seed)
      self.assertLen(set(found), 2)
      for key in found:
        counts[key] += 1
    # Binomial of 1000 and 2/5: 400 with a deviation of 15.5; five of those.
    for key, count in counts.items():
      self.assertBetween(count, 322, 478, msg=key)


if __name__ == '__main__':
  absltest.main()
