"""Wire: between gRPC's messages and tensors, without a copy in between.

MLServer's own way leads through pydantic models and lists of elements, which
cost more than all of the scoring.
"""

from collections.abc import Sequence
import math
import struct

from mlserver.grpc import dataplane_pb2 as pb
import numpy as np

from limaml_jax import errors
from limaml_jax.serving.open_inference import tensors

_CONTENTS = (
    'bytes_contents', 'int64_contents', 'int_contents', 'uint_contents',
    'uint64_contents', 'fp32_contents', 'fp64_contents', 'bool_contents',
)  # fmt: skip
_NUMPY = {
    'BOOL': np.bool_,
    'INT8': np.int8,
    'INT16': np.int16,
    'INT32': np.int32,
    'INT64': np.int64,
    'UINT8': np.uint8,
    'UINT16': np.uint16,
    'UINT32': np.uint32,
    'UINT64': np.uint64,
    'FP16': np.float16,
    'FP32': np.float32,
    'FP64': np.float64,
}
_LENGTH = struct.Struct('<I')


def to_tensors(request: pb.ModelInferRequest) -> list[tensors.Tensor]:
  """Returns the tensors of a request.

  Raises:
    InputError: if one has no contents, two of them, or torn ones.
  """
  raw = list(request.raw_input_contents)
  found = []
  for given in request.inputs:
    shape = list(given.shape)
    data = _typed(given)
    if data is None and raw:
      data = unpack(given.name, given.datatype, shape, raw.pop(0))
    elif data is None:
      data = []
    found.append(tensors.Tensor(given.name, given.datatype, shape, data))
  if raw:
    raise errors.InputError(
        f'raw_input_contents: {len(raw)} more than there are inputs; send one'
        ' for each'
    )
  return found


def from_outputs(
    outputs: Sequence[tensors.Output], *, raw: bool
) -> pb.ModelInferResponse:
  """Returns the response, its contents packed as those of the request were."""
  response = pb.ModelInferResponse()
  for output in outputs:
    described = response.outputs.add(
        name=output.name, datatype=output.datatype, shape=output.shape
    )
    if raw:
      response.raw_output_contents.append(pack(output))
    elif isinstance(output.data, list):
      described.contents.bytes_contents.extend(output.data)
    elif output.datatype == 'INT64':
      described.contents.int64_contents.extend(output.data.tolist())
    else:
      described.contents.fp32_contents.extend(output.data.tolist())
  return response


def _typed(given) -> Sequence | None:
  """Returns the contents that stand in the tensor itself, if any do."""
  if not given.HasField('contents'):
    return None
  fields = [
      values for name in _CONTENTS if (values := getattr(given.contents, name))
  ]
  if len(fields) > 1:
    raise errors.InputError(f'{given.name}: contents of two types; send one')
  return list(fields[0]) if fields else None


def unpack(
    name: str, datatype: str, shape: Sequence[int], raw: bytes
) -> list:
  """Returns the elements of a raw tensor; little-endian.

  Args:
    name: of the tensor.
    datatype: of the protocol.
    shape: that it claims.
    raw: texts each after its length, numbers as they are.

  Raises:
    InputError: if it is torn, or its shape is another.
  """
  if datatype == 'BYTES':
    return _unpack_bytes(name, raw)
  dtype = np.dtype(_NUMPY.get(datatype, np.uint8)).newbyteorder('<')
  if len(raw) != dtype.itemsize * math.prod(shape):
    raise errors.InputError(
        f'{name}: {len(raw)} raw bytes, {datatype:.40} of its shape'
        f' {list(shape)!r:.40} have another number'
    )
  return np.frombuffer(raw, dtype).tolist()


def _unpack_bytes(name: str, raw: bytes) -> list[bytes]:
  found, start, end = [], 0, len(raw)
  while start < end:
    if start + 4 > end:
      raise errors.InputError(f'{name}: raw bytes end within a length')
    (length,) = _LENGTH.unpack_from(raw, start)
    start += 4
    if start + length > end:
      raise errors.InputError(f'{name}: raw bytes end within an element')
    found.append(raw[start : start + length])
    start += length
  return found


def pack(output: tensors.Output) -> bytes:
  """Returns the raw tensor of an output."""
  if isinstance(output.data, list):
    return b''.join(_LENGTH.pack(len(text)) + text for text in output.data)
  return output.data.tobytes()
