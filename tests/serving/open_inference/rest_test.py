"""Raw tensors behind JSON; refusals_test and clients_test have the rest."""

import json

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pytest

from limaml_jax import errors

pytest.importorskip('mlserver', reason='THE PROTOCOL IS NOT TESTED')
from limaml_jax.serving.open_inference import rest  # noqa: E402
from limaml_jax.serving.open_inference import tensors  # noqa: E402


def body(sizes, raw, **more):
  """Returns a body with raw INT8 tensors, and the length of its JSON."""
  inputs = [
      {'name': f't{i}', 'datatype': 'INT8', 'shape': [size],
       'parameters': {'binary_data_size': size}} | more
      for i, size in enumerate(sizes)
  ]  # fmt: skip
  head = json.dumps({'inputs': inputs}).encode()
  return head + raw, str(len(head))


class DecodeTest(parameterized.TestCase):

  def test_raw_tensors_follow_in_order(self):
    asked = rest.decode(*body([1, 2], b'\1\2\3'))
    self.assertEqual([tensor.data for tensor in asked.inputs], [[1], [2, 3]])

  @parameterized.named_parameters(
      ('left', body([1], b'\1\2'), 'body: 1 bytes more'),
      ('short', body([1, 2], b'\1\2'), 't1: parameters.binary_data_size is 2'),
      ('both', body([1], b'\1', data=[1]), 't0: has data and raw'),
      ('length', (b'{}', '3'), 'inference-header-content-length: is'),
  )
  def test_torn_is_named(self, given, message):
    with self.assertRaisesRegex(errors.InputError, f'^{message}'):
      rest.decode(*given)


class EncodeTest(absltest.TestCase):

  def test_outputs_are_raw_where_asked(self):
    given = {
        'inputs': [],
        'parameters': {'binary_data_output': True},
        'outputs': [
            {'name': 'a'}, {'name': 'b', 'parameters': {'binary_data': False}},
        ],
    }  # fmt: skip
    outputs = [
        tensors.Output('a', 'BYTES', [1], [b'ab']),
        tensors.Output('b', 'FP32', [1], np.asarray([0.5], np.float32)),
    ]
    asked = rest.decode(json.dumps(given).encode())
    head, raw = rest.encode(asked, outputs, {})
    self.assertEqual(raw, [b'\2\0\0\0ab'])
    first, second = json.loads(head)['outputs']
    self.assertEqual(first['parameters'], {'binary_data_size': 6})
    self.assertEqual(second['data'], [0.5])


if __name__ == '__main__':
  absltest.main()
