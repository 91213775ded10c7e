"""REST: a request's body in JSON, raw tensors behind it if the client likes.

MLServer's own endpoint takes no raw tensors, which stock Triton clients send
unless told otherwise, and puts the request's id into headers unchecked.
"""

from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

from mlserver import errors as mlserver_errors
import orjson
from starlette import requests
from starlette import responses

from limaml_jax import errors
from limaml_jax.serving import service as service_lib
from limaml_jax.serving.open_inference import plane as plane_lib
from limaml_jax.serving.open_inference import tensors
from limaml_jax.serving.open_inference import wire

_LENGTH = 'inference-header-content-length'  # Of the JSON, if more follows.
_JSON = 'application/json'
_RAW = 'application/octet-stream'


class Asked(NamedTuple):
  """What a body says.

  Attributes:
    id: of the request, given back with the response.
    inputs: its tensors.
    outputs: whether each comes raw, by name; None for all.
    raw: whether outputs come raw unless they say otherwise.
  """

  id: str
  inputs: list[tensors.Tensor]
  outputs: dict[str, bool] | None
  raw: bool


class Endpoint:
  """Scores what is posted to .../infer."""

  def __init__(self, plane: plane_lib.Plane):
    """Takes what knows the models."""
    self._plane = plane

  async def infer(self, request: requests.Request) -> responses.Response:
    """Answers a request.

    Raises:
      InputError: names the field.
      MLServerError: if there is no such model.
    """
    name = request.path_params['model_name']
    version = request.path_params.get('model_version')
    async with self._plane.scoring(name, version) as model:
      asked = decode(await request.body(), request.headers.get(_LENGTH))
      scored, outputs = await model.score(asked.inputs)
      head, raw = encode(asked, outputs, _facts(model.name, scored))
    headers = {_LENGTH: str(len(head))} if raw else {}
    return responses.Response(
        b''.join((head, *raw)),
        headers=headers,
        media_type=_RAW if raw else _JSON,
    )


def is_readable(content_type: str) -> bool:
  """Says whether a body of this type, '' if there is none, may be JSON."""
  return content_type.partition(';')[0].strip().lower() in ('', _JSON, _RAW)


def status_of(error: mlserver_errors.MLServerError) -> int:
  """Returns the status of a response to an error of MLServer's."""
  if isinstance(error, mlserver_errors.ModelNotReady):
    return 503
  return error.status_code


def decode(body: bytes, header_length: str | None = None) -> Asked:
  """Reads a body.

  Args:
    body: JSON, and what follows it.
    header_length: bytes of the JSON; None for all of them.

  Raises:
    InputError: names the field.
  """
  size = len(body)
  if header_length is not None:
    if not header_length.isdecimal() or not int(header_length[:20]) <= size:
      raise errors.InputError(
          f'{_LENGTH}: is {header_length!r:.40}; send the number of bytes of'
          f' JSON, {size} or fewer'
      )
    size = int(header_length)
  try:
    fields = orjson.loads(body[:size])
  except orjson.JSONDecodeError as error:
    raise errors.InputError(f'body: not JSON: {error.msg}') from error
  if not isinstance(fields, dict):
    raise errors.InputError('body: no JSON object; send {"inputs": [...]}')
  inputs, end = [], size
  for i, given in enumerate(_objects(fields, 'inputs')):
    tensor, end = _tensor(f'inputs[{i}]', given, body, end)
    inputs.append(tensor)
  if end != len(body):
    raise errors.InputError(
        f'body: {len(body) - end} bytes more than JSON and inputs; send'
        ' parameters.binary_data_size with each raw input'
    )
  is_raw = bool(_parameters('', fields).get('binary_data_output', False))
  outputs = None
  if fields.get('outputs') is not None:
    outputs = {}
    for i, given in enumerate(_objects(fields, 'outputs')):
      parameters = _parameters(f'outputs[{i}].', given)
      name = _field(f'outputs[{i}]', given, 'name', str)
      outputs[name] = bool(parameters.get('binary_data', is_raw))
  request_id = fields.get('id')
  return Asked(tensors.checked_id(request_id), inputs, outputs, is_raw)


def encode(
    asked: Asked,
    outputs: list[tensors.Output],
    facts: Mapping[str, Any],
) -> tuple[bytes, list[bytes]]:
  """Returns the JSON of a response, and the raw outputs that follow it.

  Args:
    asked: of the request.
    outputs: all of them.
    facts: fields of the response beside them.

  Raises:
    InputError: if there is no output of a name that was asked for.
  """
  described, raw = [], []
  names = None if asked.outputs is None else list(asked.outputs)
  for output in tensors.select(outputs, names):
    fields: dict[str, Any] = {
        'name': output.name,
        'datatype': output.datatype,
        'shape': output.shape,
    }
    if (asked.outputs or {}).get(output.name, asked.raw):
      raw.append(wire.pack(output))
      fields['parameters'] = {'binary_data_size': len(raw[-1])}
    elif isinstance(output.data, list):
      fields['data'] = [text.decode() for text in output.data]
    else:
      fields['data'] = output.data.tolist()
    described.append(fields)
  response = dict(facts) | {'outputs': described}
  if asked.id:
    response['id'] = asked.id
  return orjson.dumps(response), raw


def _facts(name: str, scored: service_lib.Scored) -> dict[str, Any]:
  return {
      'model_name': name,
      'parameters': {
          'fingerprint': scored.fingerprint,
          'bundle_version': scored.version,
      },
  }


def _tensor(
    place: str, given: dict, body: bytes, start: int
) -> tuple[tensors.Tensor, int]:
  """Returns a tensor, and where the next one's raw bytes start."""
  name = _field(place, given, 'name', str)
  datatype = _field(name, given, 'datatype', str)
  shape = _field(name, given, 'shape', list)
  if set(map(type, shape)) - {int}:
    raise errors.InputError(f'{name}: shape holds no integers; send some')
  size = _parameters(f'{name}: ', given).get('binary_data_size')
  if size is None:
    data = tensors.flat(_field(name, given, 'data', list))
    return tensors.Tensor(name, datatype, shape, data), start
  if 'data' in given:
    raise errors.InputError(f'{name}: has data and raw bytes; send one')
  if type(size) is not int or not 0 <= size <= len(body) - start:
    raise errors.InputError(
        f'{name}: parameters.binary_data_size is {size!r:.40}, but'
        f' {len(body) - start} bytes follow'
    )
  end = start + size
  data = wire.unpack(name, datatype, shape, body[start:end])
  return tensors.Tensor(name, datatype, shape, data), end


def _objects(fields: dict, name: str) -> list[dict]:
  values = _field('body', fields, name, list)
  for i, value in enumerate(values):
    if not isinstance(value, dict):
      raise errors.InputError(f'{name}[{i}]: is no JSON object; send one')
  return values


def _field(place: str, fields: dict, name: str, kind: type) -> Any:
  value = fields.get(name)
  if not isinstance(value, kind):
    expected = {str: 'a text', list: 'a list'}[kind]
    state = 'is missing' if value is None else f'is no {expected[2:]}'
    raise errors.InputError(f'{place}: {name} {state}; send {expected}')
  return value


def _parameters(place: str, fields: dict) -> dict:
  parameters = fields.get('parameters')
  if parameters is None:
    return {}
  if not isinstance(parameters, dict):
    raise errors.InputError(f'{place}parameters: is no JSON object; send one')
  return parameters
