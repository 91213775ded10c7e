from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pyarrow as pa

from limaml_jax import cells
from limaml_jax.data.tasks import hashing


class RowTest(parameterized.TestCase):

  @parameterized.parameters(
      # `printf %s TOKEN | b2sum -l 64` modulo 1000, and 1 more.
      ('tv', 1 + 0xdfae9ee094b26c1c % 1000),
      ('Köln', 1 + 0xa9b862ce85040280 % 1000),
      ('', 0),
  )
  def test_is_blake2b_and_never_changes(self, token, expected):
    self.assertEqual(cells.hashed_row(token, 1000), expected)

  def test_rows_are_from_1_to_the_number_of_buckets(self):
    found = {cells.hashed_row(str(n), 5) for n in range(200)}
    self.assertEqual(found, {1, 2, 3, 4, 5})

  def test_cells_are_looked_up_by_their_text(self):
    texts = pa.array(['tv', 'phone'])
    found = hashing.look_up(np.asarray([1, -1, 0]), texts, 1000)
    row = lambda token: cells.hashed_row(token, 1000)
    expected = [row('phone'), 0, row('tv')]
    np.testing.assert_array_equal(found, expected)


class CollidingShareTest(parameterized.TestCase):

  @parameterized.parameters(
      (0, 10, 0.0),
      (1, 1, 0.0),
      (2, 1, 1.0),
      (2, 4, 1 / 4),
      # 1 - (3/4)**2.
      (3, 4, 7 / 16),
  )
  def test_closed_form(self, num_tokens, num_buckets, expected):
    found = hashing.colliding_share(num_tokens, num_buckets)
    self.assertAlmostEqual(found, expected)

  def test_is_what_happens(self):
    rows = [cells.hashed_row(f'token {n}', 500) for n in range(400)]
    share = np.mean(np.bincount(rows)[rows] > 1)
    # 1 - (1 - 1/500)**399 = 0.55.
    self.assertAlmostEqual(hashing.colliding_share(400, 500), share, delta=0.08)


if __name__ == '__main__':
  absltest.main()
