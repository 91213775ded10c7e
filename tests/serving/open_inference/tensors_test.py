from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pytest

from limaml_jax import errors
from limaml_jax.serving import settings as settings_lib

pytest.importorskip('mlserver', reason='THE PROTOCOL IS NOT TESTED')
from limaml_jax.serving.open_inference import tensors  # noqa: E402

_LIMITS = settings_lib.Settings(store='s', max_entities=3, max_candidates=6)


def texts(name, *values, shape=None):
  return tensors.Tensor(name, 'BYTES', shape or [len(values)], list(values))


def whole(name, *values, shape=None, datatype='INT64'):
  return tensors.Tensor(name, datatype, shape or [len(values)], list(values))


_ENTITY = texts('entity', 'a')


class ToRequestTest(parameterized.TestCase):

  def test_keys_of_all_spellings(self):
    request, shape = tensors.to_request(
        [texts('entity', b'K\xc3\xb6ln', 'b'), whole('candidates', 7, 2**64)],
        _LIMITS,
    )
    self.assertEqual(request.entities, ['Köln', 'b'])
    self.assertEqual(request.candidates, ['7', '18446744073709551616'])
    self.assertIsNone(shape)

  def test_counts_say_whose_a_candidate_is(self):
    request, _ = tensors.to_request(
        [
            texts('entity', 'a', 'b', 'c'),
            texts('candidates', 'x', 'y', 'z'),
            whole('num_candidates', 2, 0, 1),
        ],
        _LIMITS,
    )
    self.assertEqual(request.entity_of_row.tolist(), [0, 0, 2])

  def test_rectangle_keeps_its_shape(self):
    request, shape = tensors.to_request(
        [
            texts('entity', 'a', 'b'),
            texts('candidates', *'uvwxyz', shape=[2, 3]),
        ],
        _LIMITS,
    )
    self.assertEqual(shape, [2, 3])
    self.assertEqual(request.entity_of_row.tolist(), [0, 0, 0, 1, 1, 1])

  def test_wide_feature_is_cut_into_rows(self):
    request, _ = tensors.to_request(
        [_ENTITY, texts('colors', *'uvwx', shape=[2, 2])], _LIMITS
    )
    self.assertEqual(request.given['colors'].values, [['u', 'v'], ['w', 'x']])

  @parameterized.named_parameters(
      ('no_entity', [texts('candidates', 'x')], 'entity: missing'),
      ('twice', [_ENTITY, _ENTITY], 'entity: comes twice'),
      ('no_keys', [whole('entity', 1.0, datatype='FP32')], 'entity: is FP32'),
      ('flag_keys', [whole('entity', True, datatype='BOOL')],
       'entity: is BOOL'),
      ('flag_in_integers', [whole('entity', True)], 'entity: holds bool'),
      ('text_in_integers', [whole('entity', 'x')], 'entity: holds str'),
      ('number_in_texts', [texts('entity', 7)], 'entity: holds int'),
      ('no_utf8', [texts('entity', b'\xff')], 'entity: holds bytes that are'),
      ('unknown_datatype', [_ENTITY, whole('f', 1, datatype='X')],
       "f: datatype 'X'"),
      ('no_size', [_ENTITY, tensors.Tensor('f', 'INT64', [], [1])],
       r'f: shape \[\]'),
      ('three_sizes', [_ENTITY, whole('f', 1, shape=[1, 1, 1])], 'f: shape'),
      ('negative', [_ENTITY, whole('f', 1, shape=[-1])], r'f: shape \[-1\]'),
      ('other_size', [_ENTITY, whole('f', 1, shape=[2])], 'f: 1 elements'),
      ('too_long', [_ENTITY, whole('f', *range(7))], 'f: 7 rows'),
      ('too_many_entities', [texts('entity', *'abcd'), texts('f', 'x')],
       'entity: 4 keys; send 1 to 3'),
      ('lists_of_others', [_ENTITY, texts('candidates', *'xy', shape=[2, 1])],
       'candidates: 2 lists for 1'),
      ('counts_as_floats', [_ENTITY, texts('candidates', 'x'),
                            whole('num_candidates', 1.0, datatype='FP32')],
       'num_candidates: is FP32'),
      ('counts_too_many', [_ENTITY, texts('candidates', 'x'),
                           whole('num_candidates', 2**62)],
       'num_candidates: 2147483648 in all'),
      ('counts_negative', [_ENTITY, texts('candidates', 'x'),
                           whole('num_candidates', -1)],
       'num_candidates: send'),
  )  # fmt: skip
  def test_malformed_is_named(self, given, message):
    with self.assertRaisesRegex(errors.InputError, f'^{message}'):
      tensors.to_request(given, _LIMITS)


class SelectTest(absltest.TestCase):

  def test_order_is_that_asked_for(self):
    outputs = [
        tensors.Output(name, 'FP32', [1], np.zeros(1)) for name in 'abc'
    ]
    found = tensors.select(outputs, ['c', 'a'])
    self.assertEqual([output.name for output in found], ['c', 'a'])


class FlatTest(absltest.TestCase):

  def test_lists_in_a_list_are_joined_once(self):
    self.assertEqual(tensors.flat([[1, 2], 3, [[4]]]), [1, 2, 3, [4]])


if __name__ == '__main__':
  absltest.main()
