from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax import errors
from limaml_jax.serving import request as request_lib
from limaml_jax.serving import settings

_LIMITS = settings.Settings(store='x', max_entities=3, max_candidates=6)


def make(entities, candidates=None, counts=None, **given):
  return request_lib.make(
      entities,
      candidates,
      {name: request_lib.Given(values) for name, values in given.items()},
      counts=None if counts is None else np.asarray(counts),
      limits=_LIMITS,
  )


class RequestTest(parameterized.TestCase):

  @parameterized.parameters(
      (['a'], 'xyz', None, [0, 0, 0]),
      (['a', 'b'], 'wxyz', None, [0, 0, 1, 1]),
      (['a', 'b'], 'xyz', [1, 2], [0, 1, 1]),
      (['a', 'b', 'a'], 'xyz', [0, 3, 0], [1, 1, 1]),
      (['a', 'b'], '', None, []),
      (['a'], '', [0], []),
      (['a', 'b', 'c'], 'uvwxyz', None, [0, 0, 1, 1, 2, 2]),
  )
  def test_rows_belong_to_entities_in_order(
      self, entities, candidates, counts, expected
  ):
    request = make(entities, list(candidates), counts)
    self.assertEqual(request.entity_of_row.tolist(), expected)
    self.assertEqual(request.entity_of_row.dtype, np.int32)

  def test_features_alone_say_how_many_rows_there_are(self):
    request = make(['a'], price=[1, 2, 3], hour=[5])
    self.assertEqual(request.entity_of_row.tolist(), [0, 0, 0])
    self.assertIsNone(request.candidates)

  def test_counts_alone_say_how_many_rows_there_are(self):
    request = make(['a', 'b'], counts=[1, 3], hour=[5])
    self.assertEqual(request.entity_of_row.tolist(), [0, 1, 1, 1])

  @parameterized.parameters(
      ([], 'x', None, '^entity: 0 keys; send 1 to 3'),
      (list('abcd'), 'wxyz', None, '^entity: 4 keys; send 1 to 3'),
      (['a'], 'tuvwxyz', None, '^candidates: 7 in all; send 6 or fewer'),
      (['a'], None, [7], '^candidates: 7 in all; send 6 or fewer'),
      (['a', 'b'], 'xyz', None, '^num_candidates: missing, and 3 candidates'),
      (['a', 'b'], 'xyz', [3], '^num_candidates: send a number.* of 2 ent'),
      (['a', 'b'], 'xyz', [], '^num_candidates: send a number.* of 2 ent'),
      (['a', 'b'], 'xyz', [4, -1], '^num_candidates: send a number, 0 or more'),
      (['a', 'b'], 'xyz', [1, 1], '^num_candidates: 2 in all.* there are 3'),
      (['a'], None, None, '^candidates: missing, and no feature is given'),
  )
  def test_a_mismatch_names_the_field(
      self, entities, candidates, counts, message
  ):
    candidates = None if candidates is None else list(candidates)
    with self.assertRaisesRegex(errors.InputError, message):
      make(entities, candidates, counts)

  def test_the_limits_themselves_are_allowed(self):
    request = make(list('abc'), list('uvwxyz'))
    self.assertLen(request.entity_of_row, 6)


if __name__ == '__main__':
  absltest.main()
