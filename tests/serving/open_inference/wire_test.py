from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pytest

from limaml_jax import errors

pytest.importorskip('mlserver', reason='THE PROTOCOL IS NOT TESTED')
from mlserver.grpc import dataplane_pb2 as pb  # noqa: E402

from limaml_jax.serving.open_inference import tensors  # noqa: E402
from limaml_jax.serving.open_inference import wire  # noqa: E402

_NUMBERS = (
    ('INT8', 'i1', [-1, 7]), ('INT16', '<i2', [-300, 7]),
    ('INT32', '<i4', [-70000, 7]), ('INT64', '<i8', [-(2**40), 7]),
    ('UINT8', 'u1', [255, 7]), ('UINT16', '<u2', [65535, 7]),
    ('UINT32', '<u4', [2**32 - 1, 7]), ('UINT64', '<u8', [2**64 - 1, 7]),
    ('FP16', '<f2', [0.5, 7.0]), ('FP32', '<f4', [0.25, 7.0]),
    ('FP64', '<f8', [0.1, 7.0]), ('BOOL', '?', [True, False]),
)  # fmt: skip
_FIELDS = (
    ('bytes_contents', 'BYTES', [b'x', b'']),
    ('int_contents', 'INT32', [-1]),
    ('int64_contents', 'INT64', [-1]),
    ('uint_contents', 'UINT32', [1]),
    ('uint64_contents', 'UINT64', [2**64 - 1]),
    ('fp32_contents', 'FP32', [0.5]),
    ('fp64_contents', 'FP64', [0.1]),
    ('bool_contents', 'BOOL', [True]),
)


def request(datatype, shape, raw=None, **contents):
  made = pb.ModelInferRequest()
  given = made.inputs.add(name='t', datatype=datatype, shape=shape)
  for name, values in contents.items():
    getattr(given.contents, name).extend(values)
  if raw is not None:
    made.raw_input_contents.append(raw)
  return made


class ToTensorsTest(parameterized.TestCase):

  @parameterized.parameters(*_NUMBERS)
  def test_raw_numbers(self, datatype, dtype, values):
    raw = np.asarray(values, dtype).tobytes()
    (tensor,) = wire.to_tensors(request(datatype, [2], raw))
    self.assertEqual(tensor.data, values)
    self.assertEqual([type(v) for v in tensor.data], [type(values[0])] * 2)

  @parameterized.parameters(*_FIELDS)
  def test_typed_contents(self, field, datatype, values):
    shape = [len(values)]
    made = request(datatype, shape, **{field: values})
    (tensor,) = wire.to_tensors(made)
    self.assertEqual(tensor, tensors.Tensor('t', datatype, shape, values))

  def test_raw_texts(self):
    raw = b'\2\0\0\0ab\0\0\0\0\1\0\0\0c'
    (tensor,) = wire.to_tensors(request('BYTES', [3], raw))
    self.assertEqual(tensor.data, [b'ab', b'', b'c'])

  def test_contents_and_raw_may_be_mixed(self):
    made = request('INT64', [1], int64_contents=[5])
    made.inputs.add(name='u', datatype='INT8', shape=[1])
    made.raw_input_contents.append(b'\7')
    found = [tensor.data for tensor in wire.to_tensors(made)]
    self.assertEqual(found, [[5], [7]])

  @parameterized.named_parameters(
      ('length', request('BYTES', [1], b'\1\0\0'), 't: raw bytes end within a'),
      ('element', request('BYTES', [1], b'\2\0\0\0a'),
       't: raw bytes end within an element'),
      ('number', request('INT64', [1], bytes(7)), 't: 7 raw bytes, INT64'),
      ('more', request('INT64', [1], bytes(16)), 't: 16 raw bytes'),
      ('negative', request('INT64', [-1, -1], bytes(16)), 't: 16 raw bytes'),
      ('two', request('INT64', [1], int64_contents=[1], fp32_contents=[1]),
       't: contents of two types'),
      ('left', request('INT64', [1], bytes(8), int64_contents=[1]),
       'raw_input_contents: 1 more'),
  )  # fmt: skip
  def test_torn_is_named(self, made, message):
    with self.assertRaisesRegex(errors.InputError, f'^{message}'):
      wire.to_tensors(made)


class FromOutputsTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.outputs = [
        tensors.Output('s', 'FP32', [1], np.asarray([0.5], np.float32)),
        tensors.Output('b', 'BYTES', [1], [b'ab']),
        tensors.Output('i', 'INT64', [1], np.asarray([-1])),
    ]

  def test_raw(self):
    response = wire.from_outputs(self.outputs, raw=True)
    self.assertEqual(
        list(response.raw_output_contents),
        [b'\0\0\0\x3f', b'\2\0\0\0ab', b'\xff' * 8],
    )

  def test_typed(self):
    score, text, age = wire.from_outputs(self.outputs, raw=False).outputs
    self.assertEqual(score.contents.fp32_contents, [0.5])
    self.assertEqual(text.contents.bytes_contents, [b'ab'])
    self.assertEqual(age.contents.int64_contents, [-1])


if __name__ == '__main__':
  absltest.main()
