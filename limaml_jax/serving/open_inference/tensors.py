"""Tensors: between the protocol's tensors and requests of this library.

Inputs: `entity` (keys), `candidates` (keys of items, those of the first entity
first), `num_candidates` (of each entity, where it is not the same for all), and
features by name. Outputs: `score`, and for each entity `status`, `age_seconds`
and `snapshot`.
"""

from collections.abc import Iterable
from collections.abc import Sequence
import math
from typing import Any
from typing import NamedTuple

import numpy as np

from limaml_jax import errors
from limaml_jax.bundle import manifest as manifest_lib
from limaml_jax.serving import request as request_lib
from limaml_jax.serving import service as service_lib
from limaml_jax.serving import settings as settings_lib
from limaml_jax.store import lookup as lookup_lib

ENTITY, CANDIDATES, COUNTS = 'entity', 'candidates', 'num_candidates'
_WHOLE = frozenset({
    'INT8', 'INT16', 'INT32', 'INT64', 'UINT8', 'UINT16', 'UINT32',
    'UINT64',
})  # fmt: skip
_FLAGS = frozenset({'BOOL'})
_FLOATS = frozenset({'FP16', 'FP32', 'FP64'})
_TEXTS = frozenset({'BYTES'})
_PYTHON = {
    _WHOLE: (int,),
    _FLAGS: (bool,),
    _FLOATS: (int, float, type(None)),
    _TEXTS: (bytes, str),
}
_MAX_ID_LENGTH = 256
_STATUS_NAMES = [status.name.encode() for status in lookup_lib.Status]


class Tensor(NamedTuple):
  """One tensor of a request.

  Attributes:
    name: of it.
    datatype: of the protocol, e.g. 'BYTES'.
    shape: that it claims.
    data: its elements, flat.
  """

  name: str
  datatype: str
  shape: Sequence[int]
  data: Sequence


class Output(NamedTuple):
  """One tensor of a response; `data` is flat, texts in a list."""

  name: str
  datatype: str
  shape: list[int]
  data: np.ndarray | list[bytes]


def to_request(
    tensors: Iterable[Tensor], limits: settings_lib.Settings
) -> tuple[request_lib.Request, list[int] | None]:
  """Returns the request, and the shape of its candidates if they have one.

  Args:
    tensors: of the request.
    limits: how much it may ask.

  Raises:
    InputError: names the tensor.
  """
  by_name: dict[str, Tensor] = {}
  for tensor in tensors:
    if tensor.name in by_name:
      raise errors.InputError(f'{tensor.name}: comes twice; send it once')
    by_name[tensor.name] = tensor
    _check(tensor, limits)
  if ENTITY not in by_name:
    raise errors.InputError(f'{ENTITY}: missing; send the keys of entities')
  entities = _keys(by_name.pop(ENTITY))
  asked = by_name.pop(CANDIDATES, None)
  counts = by_name.pop(COUNTS, None)
  if counts is not None and _kind(counts) is not _WHOLE:
    raise errors.InputError(
        f'{COUNTS}: is {counts.datatype}; send INT32 or INT64'
    )
  request = request_lib.make(
      entities,
      None if asked is None else _keys(asked),
      {name: request_lib.Given(_rows(t)) for name, t in by_name.items()},
      counts=None if counts is None else _counts(counts),
      limits=limits,
  )
  if asked is None or len(asked.shape) != 2:
    return request, None
  if asked.shape[0] != len(entities):
    raise errors.InputError(
        f'{CANDIDATES}: {asked.shape[0]} lists for {len(entities)} entities;'
        ' send one each, or a flat list and num_candidates'
    )
  return request, list(asked.shape)


def from_scored(
    scored: service_lib.Scored, shape: list[int] | None
) -> list[Output]:
  """Returns the outputs.

  Args:
    scored: of the request.
    shape: of its candidates, if they had one.
  """
  num_entities = len(scored.statuses)
  names = [_STATUS_NAMES[status] for status in scored.statuses.tolist()]
  return [
      Output('score', 'FP32', shape or [len(scored.scores)], scored.scores),
      Output('status', 'BYTES', [num_entities], names),
      Output('age_seconds', 'INT64', [num_entities], scored.ages),
      Output('snapshot', 'BYTES', [1], [scored.snapshot.encode()]),
  ]


def select(
    outputs: Sequence[Output], names: Sequence[str] | None
) -> list[Output]:
  """Returns the outputs that were asked for, in that order.

  Args:
    outputs: all of them.
    names: of those; None for all.

  Raises:
    InputError: if there is none of a name.
  """
  by_name = {output.name: output for output in outputs}
  for name in names or ():
    if name not in by_name:
      raise errors.InputError(
          f'outputs: no {name!r:.40}; there are {", ".join(by_name)}'
      )
  return list(outputs) if names is None else [by_name[name] for name in names]


def flat(data: Any) -> list:
  """Returns the elements of a list, or of the lists in it."""
  if not isinstance(data, list):
    return [data]
  if list not in set(map(type, data)):
    return data
  found = []
  for element in data:
    found += element if isinstance(element, list) else [element]
  return found


def checked_id(request_id: Any) -> str:
  """Returns the id of a request, '' for None.

  Raises:
    InputError: if it is no short text.
  """
  if request_id is None:
    return ''
  if not isinstance(request_id, str) or len(request_id) > _MAX_ID_LENGTH:
    raise errors.InputError(
        f'id: send a text of {_MAX_ID_LENGTH} characters or fewer'
    )
  return request_id


def describe(
    manifest: manifest_lib.Manifest,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
  """Returns the inputs and outputs of a model, for its metadata."""
  inputs: list[dict[str, Any]] = [
      {'name': ENTITY, 'datatype': 'BYTES', 'shape': [-1]},
      {'name': CANDIDATES, 'datatype': 'BYTES', 'shape': [-1]},
      {'name': COUNTS, 'datatype': 'INT64', 'shape': [-1]},
  ]
  for spec in manifest.features:
    is_number = spec.kind in ('numeric', 'bucketized')
    inputs.append({
        'name': spec.name,
        'datatype': 'FP64' if is_number else 'BYTES',
        'shape': [-1, -1] if spec.kind == 'multi_hot' else [-1],
        'parameters': {'kind': spec.kind, 'owner': spec.owner},
    })
  return inputs, [
      {'name': 'score', 'datatype': 'FP32', 'shape': [-1]},
      {'name': 'status', 'datatype': 'BYTES', 'shape': [-1]},
      {'name': 'age_seconds', 'datatype': 'INT64', 'shape': [-1]},
      {'name': 'snapshot', 'datatype': 'BYTES', 'shape': [1]},
  ]


def _kind(tensor: Tensor) -> frozenset[str]:
  for kind in _PYTHON:
    if tensor.datatype in kind:
      return kind
  raise errors.InputError(
      f'{tensor.name}: datatype {tensor.datatype!r:.40} is unknown; send BYTES,'
      ' INT64 or FP32'
  )


def _check(tensor: Tensor, limits: settings_lib.Settings) -> None:
  """Refuses data that are not what the tensor says of itself."""
  most = max(limits.max_candidates, limits.max_entities)
  shape = tensor.shape
  if not 1 <= len(shape) <= 2 or min(shape) < 0:
    raise errors.InputError(
        f'{tensor.name}: shape {list(shape)!r:.40}; send one or two sizes'
    )
  size = math.prod(shape)
  if size != len(tensor.data):
    raise errors.InputError(
        f'{tensor.name}: {len(tensor.data)} elements, its shape'
        f' {list(shape)!r:.40} has {size}'
    )
  if shape[0] > most:
    raise errors.InputError(
        f'{tensor.name}: {shape[0]} rows; send {most} or fewer'
    )
  allowed = _PYTHON[_kind(tensor)]
  for kind in set(map(type, tensor.data)):
    if kind not in allowed:
      raise errors.InputError(
          f'{tensor.name}: holds {kind.__name__}, which is no'
          f' {tensor.datatype}'
      )


def _keys(tensor: Tensor) -> list[str]:
  """Returns keys as the log spells them: texts, or whole numbers."""
  if _kind(tensor) is _WHOLE:
    return list(map(str, tensor.data))
  if _kind(tensor) is _TEXTS:
    return _texts(tensor)
  raise errors.InputError(
      f'{tensor.name}: is {tensor.datatype}; send keys as BYTES or INT64'
  )


def _texts(tensor: Tensor) -> list[str]:
  try:
    return [
        value if isinstance(value, str) else value.decode()
        for value in tensor.data
    ]
  except UnicodeDecodeError as error:
    raise errors.InputError(
        f'{tensor.name}: holds bytes that are no UTF-8 ({error.reason}); send'
        ' texts'
    ) from error


def _rows(tensor: Tensor) -> list:
  """Returns values, [n], or lists of them where the tensor has two sizes."""
  values = _texts(tensor) if _kind(tensor) is _TEXTS else list(tensor.data)
  if len(tensor.shape) == 1:
    return values
  num_rows, width = tensor.shape
  return [values[i * width : (i + 1) * width] for i in range(num_rows)]


def _counts(tensor: Tensor) -> np.ndarray:
  # Clipped, so that no sum of them overflows.
  return np.asarray([min(max(int(n), -1), 1 << 31) for n in tensor.data])
