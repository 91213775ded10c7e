"""Requests that make little sense, by the hundred, at a real server.

LIMAML_EXAMPLES sets how many; a long run:

  LIMAML_EXAMPLES=10000 python -m pytest \
      tests/serving/open_inference/serving_fuzz_test.py
"""

import collections
import http.client
import json
import os
import random
import time

from absl.testing import absltest
import pytest

from tests import served

pytest.importorskip('mlserver', reason='THE SERVER IS NOT TESTED')
import grpc  # noqa: E402
from mlserver.grpc import dataplane_pb2 as pb  # noqa: E402

_NUM_EXAMPLES = int(os.environ.get('LIMAML_EXAMPLES', '150'))
_PATIENCE_SECONDS = 10  # For one answer.
_MOST_GROWTH = 64 << 20  # Bytes, over any number of requests.
_INFER = '/v2/models/limaml/infer'
_CALL = '/inference.GRPCInferenceService/ModelInfer'
_NAMES = ['entity', 'candidates', 'num_candidates', 'price', 'hour', 'page',
          'colors', 'city', 'item_id', 'nothing', '', 'ü\n']  # fmt: skip
_DATATYPES = ['BYTES', 'INT64', 'INT8', 'UINT64', 'FP16', 'FP32', 'FP64',
              'BOOL', 'TEXT', '', 7, None]  # fmt: skip
_VALUES = ['u0001', 'i1', 'red', '', 'x' * 600, '\0', 'ü', 0, 1, -1, 2**63,
           2**64 - 1, 0.5, -1.0, 1e308, True, None, [], {}, ['i1'],
           [[1]]]  # fmt: skip
_SHAPES = [[], [0], [1], [2], [-1], [1, 1], [2, 2], [1, 2, 3], [2**40, 2**40],
           'x', None, [1.5]]  # fmt: skip
_CONTENTS = ['bytes_contents', 'int64_contents', 'int_contents',
             'uint_contents', 'uint64_contents', 'fp32_contents',
             'fp64_contents', 'bool_contents']  # fmt: skip
_PATHS = [_INFER] * 20 + [
    '/v2/models/limaml/generate', '/v2/models/limaml/infer_stream',
    '/v2/repository/index', '/v2/repository/models/limaml/unload',
    '/v2/models/%00/infer', '/v2/models/limaml/versions/%C3%BC/infer', '//v2',
]  # fmt: skip
_GOOD = {
    'inputs': [
        {'name': 'entity', 'shape': [1], 'datatype': 'BYTES',
         'data': ['u0001']},
        {'name': 'candidates', 'shape': [2], 'datatype': 'BYTES',
         'data': ['i1', 'i2']},
    ]
}  # fmt: skip


def mutated(rng, data):
  """Returns bytes of which a few are changed, gone, doubled or new."""
  data = bytearray(data)
  for _ in range(rng.choice([1, 1, 2, 6])):
    i, n = rng.randrange(len(data) + 1), rng.randint(1, 8)
    kind = rng.randrange(4)
    if kind == 0:
      data[i : i + n] = rng.randbytes(n)
    elif kind == 1:
      del data[i : i + n]
    elif kind == 2:
      data[i:i] = data[i : i + n] * rng.randint(1, 50)
    else:
      data[i:i] = rng.randbytes(n)
  return bytes(data)


def json_tensor(rng, name):
  values = [rng.choice(_VALUES) for _ in range(rng.randint(0, 3))]
  fields = {
      'name': name,
      'datatype': rng.choice(_DATATYPES),
      'shape': [len(values)] if rng.random() < 0.6 else rng.choice(_SHAPES),
      'data': values,
  }
  if rng.random() < 0.1:
    fields['parameters'] = {'binary_data_size': rng.choice([0, 4, -1, 'x'])}
  if rng.random() < 0.1:
    del fields[rng.choice(list(fields))]
  return fields


def json_body(rng):
  """Returns a body after the protocol's schema, or nearly so."""
  inputs = list(_GOOD['inputs'])
  for name in rng.sample(_NAMES, rng.randint(0, 3)):
    made = json_tensor(rng, name)
    kept = [given for given in inputs if given.get('name') != name]
    inputs = [*(kept if rng.random() < 0.9 else inputs), made]
  body = {'inputs': inputs}
  for name in ('id', 'parameters', 'outputs'):
    if rng.random() < 0.15:
      body[name] = rng.choice([*_VALUES, [{'name': 'score'}], [{'name': 'x'}],
                               {'binary_data_output': True}])  # fmt: skip
  return json.dumps(body).encode()


def message(rng):
  """Returns a message after the protocol's schema."""
  request = pb.ModelInferRequest(model_name='limaml')
  names = ['entity', 'candidates', *rng.sample(_NAMES, rng.randint(0, 2))]
  is_raw = rng.random() < 0.4
  for name in names:
    kind = rng.choice(['BYTES', 'BYTES', 'INT64', 'FP32', 'BOOL', 'TEXT'])
    size = rng.randint(0, 3)
    shape = [size] if rng.random() < 0.7 else rng.choice(_SHAPES[:9])
    given = request.inputs.add(name=name, datatype=kind, shape=shape)
    if is_raw:
      raw = b'\5\0\0\0u0001' * size if kind == 'BYTES' else bytes(8 * size)
      request.raw_input_contents.append(raw)
      continue
    field = rng.choice(_CONTENTS) if rng.random() < 0.3 else _CONTENTS[0]
    value = b'u0001' if field == 'bytes_contents' else 1
    getattr(given.contents, field).extend([value] * size)
  return request.SerializeToString()


class FuzzTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.bundle = cls.enterClassContext(served.temporary_bundle())
    cls.server = cls.enterClassContext(served.serve(cls.bundle.root))
    cls.channel = grpc.insecure_channel(cls.server.grpc)
    cls.addClassCleanup(cls.channel.close)

  def setUp(self):
    super().setUp()
    self.slowest = 0.0
    self.connection = None

  def tearDown(self):
    self.hang_up()
    super().tearDown()

  def hang_up(self):
    if self.connection:
      self.connection.close()
    self.connection = None

  def post(self, path, body, headers):
    """Returns the status, over a connection that is kept while it works."""
    if self.connection is None:
      self.connection = http.client.HTTPConnection(
          self.server.http, timeout=_PATIENCE_SECONDS
      )
    start = time.monotonic()
    self.connection.request('POST', path, body, headers)
    answer = self.connection.getresponse()
    text = answer.read()
    self.slowest = max(self.slowest, time.monotonic() - start)
    if answer.status >= 400:
      self.assertLess(len(text), 4000)
    return answer.status, text

  def send_bytes(self, data):
    """Returns the status of an answer to bytes that may be no HTTP."""
    connection = http.client.HTTPConnection(
        self.server.http, timeout=_PATIENCE_SECONDS
    )
    connection.connect()
    connection.sock.sendall(data)
    connection.sock.shutdown(1)  # Nothing more comes: it need not wait.
    try:
      answer = http.client.HTTPResponse(connection.sock)
      answer.begin()
      return answer.status
    except (http.client.HTTPException, ConnectionError):
      return 0  # Hung up.
    finally:
      connection.close()

  def call(self, data):
    start = time.monotonic()
    try:
      self.channel.unary_unary(_CALL)(data, timeout=_PATIENCE_SECONDS)
      code = 'OK'
    except grpc.RpcError as error:
      code = error.code().name
    self.slowest = max(self.slowest, time.monotonic() - start)
    return code

  def score(self):
    status, text = self.post(_INFER, json.dumps(_GOOD).encode(), {})
    self.assertEqual(status, 200, msg=text)
    return json.loads(text)['outputs'][0]['data']

  def run_all(self, ask):
    """Asks many times; returns how often each answer came."""
    rng = random.Random(20)
    expected = self.score()
    warm = min(_NUM_EXAMPLES, 500)
    answers = collections.Counter(ask(rng) for _ in range(warm))
    before = self.server.resident_bytes()
    answers.update(ask(rng) for _ in range(_NUM_EXAMPLES - warm))
    grown = self.server.resident_bytes() - before
    print(f'{self.id()}: {dict(answers)}, {grown >> 10} KiB more,'
          f' slowest {self.slowest:.3f} s')  # fmt: skip
    self.assertLess(grown, _MOST_GROWTH)
    self.assertLess(self.slowest, _PATIENCE_SECONDS)
    self.assertIsNone(self.server.process.poll())
    self.hang_up()  # A connection that was idle meanwhile is closed.
    self.assertEqual(self.score(), expected)
    self.assertNotIn('Traceback', self.server.log)
    return answers

  def test_schema_over_rest(self):
    answers = self.run_all(
        lambda rng: self.post(rng.choice(_PATHS), json_body(rng), {})[0]
    )
    self.assertContainsSubset(answers, {200, 400, 403, 404, 422})
    self.assertIn(200, answers)
    self.assertIn(400, answers)

  def test_mutated_body_over_rest(self):
    headers = [{}, {'content-encoding': 'gzip'}, {'content-type': 'text/x'},
               {'inference-header-content-length': '40'}]  # fmt: skip
    answers = self.run_all(
        lambda rng: self.post(
            _INFER,
            mutated(rng, json.dumps(_GOOD).encode()),
            rng.choices(headers, [9, 1, 1, 1])[0],
        )[0]
    )
    self.assertContainsSubset(answers, {200, 400, 415})
    self.assertIn(400, answers)

  def test_mutated_bytes_over_rest(self):
    body = json.dumps(_GOOD).encode()
    whole = (
        f'POST {_INFER} HTTP/1.1\r\nHost: x\r\n'
        f'Content-Length: {len(body)}\r\n\r\n'
    ).encode() + body
    answers = self.run_all(lambda rng: self.send_bytes(mutated(rng, whole)))
    self.assertContainsSubset(answers, {0, 200, 400, 404, 405, 413, 415, 501})
    self.assertIn(400, answers)

  def test_schema_over_grpc(self):
    answers = self.run_all(lambda rng: self.call(message(rng)))
    self.assertContainsSubset(answers, {'OK', 'INVALID_ARGUMENT', 'NOT_FOUND'})
    self.assertIn('OK', answers)
    self.assertIn('INVALID_ARGUMENT', answers)

  def test_mutated_message_over_grpc(self):
    answers = self.run_all(lambda rng: self.call(mutated(rng, message(rng))))
    self.assertContainsSubset(answers, {'OK', 'INVALID_ARGUMENT', 'NOT_FOUND'})
    self.assertIn('INVALID_ARGUMENT', answers)


if __name__ == '__main__':
  absltest.main()
