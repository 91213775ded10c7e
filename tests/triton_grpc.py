"""A stock Triton client over gRPC, in a process of its own.

Its messages and those of MLServer have the same names: protobuf lets one
process know only one of them.
"""

import asyncio
import json
import subprocess
import sys

import numpy as np

_KINDS = {'i': 'INT64', 'f': 'FP64', 'O': 'BYTES'}


class Client:
  """Starts the process, and asks it; ends it on `close`."""

  def __init__(self):
    self._process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

  def __enter__(self):
    return self

  def __exit__(self, *unused):
    self._process.communicate(timeout=60)

  def infer(self, where, arrays, **options):
    """Returns {'outputs': ..., 'id': ...}, or {'error': ..., 'status': ...}.

    Args:
      where: HOST:PORT.
      arrays: by name.
      **options: is_async, outputs, id, headers, certificate, compression.
    """
    inputs = {
        name: [array.dtype.kind, array.tolist()]
        for name, array in arrays.items()
    }
    return self._ask({'where': where, 'inputs': inputs} | options)

  def metadata(self, where, **options):
    """Returns the metadata of the model, as tritonclient's JSON has it."""
    return self._ask({'where': where} | options)

  def _ask(self, asked):
    self._process.stdin.write(json.dumps(asked) + '\n')
    self._process.stdin.flush()
    return json.loads(self._process.stdout.readline())


async def _answer(asked):
  """Runs in the process."""
  from tritonclient import grpc as triton
  from tritonclient.grpc import aio

  inputs = []
  for name, (kind, values) in asked.get('inputs', {}).items():
    array = np.asarray(values, {'i': 'i8', 'f': 'f8', 'O': 'O'}[kind])
    tensor = triton.InferInput(name, list(array.shape), _KINDS[kind])
    inputs.append(tensor.set_data_from_numpy(array))
  certificate = asked.get('certificate')
  is_async = asked.get('is_async')
  client = (aio if is_async else triton).InferenceServerClient(
      asked['where'], ssl=bool(certificate), root_certificates=certificate
  )
  names = asked.get('outputs')
  outputs = names and [triton.InferRequestedOutput(name) for name in names]
  try:
    if not inputs:
      return client.get_model_metadata('limaml', as_json=True)
    found = client.infer(
        asked.get('model', 'limaml'),
        inputs,
        outputs=outputs,
        request_id=asked.get('id', ''),
        headers=asked.get('headers'),
        compression_algorithm=asked.get('compression'),
    )
    found = await found if is_async else found
  except triton.InferenceServerException as error:
    return {'error': error.message(), 'status': error.status()}
  finally:
    closing = client.close()
    if is_async:
      await closing
  response = found.get_response()
  return {
      'id': response.id,
      'outputs': {o.name: _plain(found, o.name) for o in response.outputs},
  }


def _plain(found, name):
  array = found.as_numpy(name)
  if array.dtype.kind == 'O':
    return [text.decode() for text in array]
  return array.tolist()


if __name__ == '__main__':
  for line in sys.stdin:
    print(json.dumps(asyncio.run(_answer(json.loads(line)))), flush=True)
