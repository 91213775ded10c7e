"""What a real server says to requests that are wrong, and to its log."""

import gzip
import http.client
import json
import zlib

from absl.testing import absltest
from absl.testing import parameterized
import pytest

from tests import served

pytest.importorskip('mlserver', reason='THE SERVER IS NOT TESTED')
import grpc  # noqa: E402
from mlserver.grpc import dataplane_pb2 as pb  # noqa: E402

_INFER = '/v2/models/limaml/infer'
_SERVICE = '/inference.GRPCInferenceService/'
_LIMIT = 65536  # Bytes of a body.
_TOKEN = 'a-token-that-stays-secret'
_MARK = 'marked-text'  # Must appear in no log.
_GOOD = {
    'inputs': [
        {'name': 'entity', 'shape': [1], 'datatype': 'BYTES', 'data': ['u1']},
        {'name': 'candidates', 'shape': [1], 'datatype': 'BYTES',
         'data': ['i1']},
    ]
}  # fmt: skip


def changed(**fields):
  """Returns a body whose second tensor is another."""
  entity, candidates = _GOOD['inputs']
  return json.dumps({'inputs': [entity, candidates | fields]})


_DEEP = '[' * 900 + ']' * 900
_BODIES = (
    ('no_json', '{"inputs": [' + _MARK, 'body: not JSON'),
    ('empty', '', 'body: not JSON'),
    ('list', '[]', 'body: no JSON object'),
    ('no_inputs', '{}', 'body: inputs is missing'),
    ('inputs_no_list', '{"inputs": 7}', 'body: inputs is no list'),
    ('input_no_object', '{"inputs": [7]}', 'inputs[0]: is no JSON object'),
    ('no_entity', '{"inputs": []}', 'entity: missing'),
    ('nan', changed(data=[float('nan')]), 'body: not JSON'),
    ('deep', changed(data='X').replace('"X"', _DEEP), 'candidates: '),
    ('deeper', '[' * 30000 + ']' * 30000, 'body: not JSON'),
    ('deep_parameters', changed(parameters='X').replace('"X"', _DEEP),
     'candidates: parameters: is no'),
    ('wrong_type', changed(data=[{'x': _MARK}]), 'candidates: holds dict'),
    ('wrong_datatype', changed(datatype='TEXT'), "candidates: datatype 'TEXT'"),
    ('datatype_no_text', changed(datatype=7), 'candidates: datatype is'),
    ('shape_no_list', changed(shape=7), 'candidates: shape is no list'),
    ('shape_of_texts', changed(shape=['1']), 'candidates: shape holds'),
    ('shape_negative', changed(shape=[-1]), 'candidates: shape [-1]'),
    ('shape_wrong', changed(shape=[2]), 'candidates: 1 elements'),
    ('shape_huge', changed(shape=[1 << 62, 1 << 62]), 'candidates: 1 elements'),
    ('data_missing', changed(data=None), 'candidates: data is missing'),
    ('surrogate', changed(data=['S']).replace('"S"', '"\\ud800"'),
     'body: not JSON'),
    ('unknown_feature', changed(name='speed'), 'speed: no such feature'),
    ('id_no_text', json.dumps(_GOOD | {'id': 7}), 'id: send a text'),
    ('id_long', json.dumps(_GOOD | {'id': 'x' * 300}), 'id: send a text'),
    ('raw_missing', changed(parameters={'binary_data_size': 9}, data=None)
     .replace(', "data": null', ''), 'candidates: parameters.binary_data_size'),
)  # fmt: skip


class RefusalsTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    bundle = cls.enterClassContext(served.temporary_bundle())
    cls.server = cls.enterClassContext(
        served.serve(
            bundle.root,
            access={'max_body_bytes': _LIMIT},
            environment={'LIMAML_TOKEN': _TOKEN},
        )
    )
    cls.channel = grpc.insecure_channel(cls.server.grpc)
    cls.addClassCleanup(cls.channel.close)

  def ask(self, method, path, body=None, token=_TOKEN, **headers):
    """Returns status, headers and text of an answer."""
    names = {n.replace('_', '-'): v for n, v in headers.items()}
    if token:
      names['authorization'] = f'Bearer {token}'
    connection = http.client.HTTPConnection(self.server.http, timeout=20)
    connection.request(method, path, body, names)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, text

  def call(self, method, data, token=_TOKEN, compression=None):
    """Returns code and details of a call with these bytes."""
    metadata = (('authorization', f'Bearer {token}'),) if token else ()
    rpc = self.channel.unary_unary(_SERVICE + method)
    try:
      rpc(data, timeout=20, metadata=metadata, compression=compression)
    except grpc.RpcError as error:
      return error.code(), error.details()
    return grpc.StatusCode.OK, ''

  def assert_answers(self):
    status, _, text = self.ask('POST', _INFER, json.dumps(_GOOD))
    self.assertEqual(status, 200, msg=text)

  @parameterized.named_parameters(*_BODIES)
  def test_bad_body_is_named(self, body, place):
    status, _, text = self.ask('POST', _INFER, body)
    self.assertEqual(status, 400, msg=text)
    self.assertStartsWith(json.loads(text)['error'], place)
    self.assertLess(len(text), 400)
    self.assertNotIn('\\n', text)

  @parameterized.named_parameters(
      ('form', {'content_type': 'application/x-www-form-urlencoded'}, 415),
      ('encoding', {'content_encoding': 'br'}, 415),
      ('host', {'host': '[x'}, 400),
      ('host_address', {'host': '[:::::]:80'}, 400),
      ('no_gzip', {'content_encoding': 'gzip'}, 400),
      ('no_deflate', {'content_encoding': 'deflate'}, 400),
      ('raw_length', {'inference_header_content_length': '-1'}, 400),
      ('raw_length_huge', {'inference_header_content_length': '9' * 5000}, 400),
  )
  def test_bad_header_is_named(self, headers, expected):
    status, _, text = self.ask('POST', _INFER, json.dumps(_GOOD), **headers)
    self.assertEqual(status, expected, msg=text)
    name = next(iter(headers)).replace('_', '-')
    self.assertStartsWith(
        json.loads(text)['error'], name if expected == 415 else ('body', name)
    )

  @parameterized.named_parameters(
      ('whole', b' ' * (_LIMIT + 1), {}),
      ('chunked', [b' ' * _LIMIT, b' '], {}),
      ('bomb', gzip.compress(b' ' * 10_000_000), {'content_encoding': 'gzip'}),
      ('deflate_bomb', zlib.compress(b' ' * 10_000_000),
       {'content_encoding': 'deflate'}),
  )  # fmt: skip
  def test_large_body(self, body, headers):
    body = iter(body) if isinstance(body, list) else body
    status, _, text = self.ask('POST', _INFER, body, **headers)
    self.assertEqual(status, 413)
    self.assertIn(str(_LIMIT), json.loads(text)['error'])

  @parameterized.named_parameters(
      ('chunked', lambda body: iter([body[:9], body[9:]]), ''),
      ('gzip', gzip.compress, 'gzip'),
      ('deflate', zlib.compress, 'deflate'),
  )
  def test_body_may_come_otherwise(self, pack, encoding):
    status, _, text = self.ask(
        'POST', _INFER, pack(json.dumps(_GOOD).encode()),
        content_encoding=encoding,
    )  # fmt: skip
    self.assertEqual(status, 200, msg=text)

  @parameterized.parameters(
      ('GET', _INFER, 405),
      ('HEAD', _INFER, 405),
      ('OPTIONS', _INFER, 405),
      ('DELETE', _INFER, 405),
      ('BREW', '/v2', 405),
      ('GET', 'v2', 400),
      ('GET', '7[', 400),
      ('GET', '/', 404),
      ('GET', '/openapi.json', 404),
      ('GET', '/v2/models/nobody', 404),
      ('GET', '/v2/models/limaml/versions/9', 404),
      ('GET', '/v2/models/nobody/ready', 404),
      ('GET', '/v2/models/nobody/docs', 404),
      ('POST', '/v2/models/nobody/infer', 404),
      ('POST', '/v2/models/limaml/versions/9/infer', 404),
      ('POST', '/v2/models/limaml/infer_stream', 404),
      ('POST', '/v2/models/limaml/generate_stream', 404),
      ('POST', '/v2/repository/models/limaml/unload', 403),
      ('POST', '/v2/repository/models/limaml/load', 403),
      ('POST', '/v2/repository/index', 422),
      ('GET', '/v2/models/%0a%0d%00/ready', 404),
      ('GET', '/v2/models/' + 'x' * 5000, 404),
      ('POST', '/v2/models/limaml/generate', 200),
      ('GET', '/v2/docs', 200),
      ('GET', '/v2/models/limaml/docs/dataplane.json', 200),
  )
  def test_other_paths(self, method, path, expected):
    body = json.dumps(_GOOD if path != '/v2/repository/index' else [_MARK])
    status, _, text = self.ask(method, path, body)
    self.assertEqual(status, expected, msg=text)
    if expected >= 400 and method != 'HEAD':
      self.assertEqual(list(json.loads(text)), ['error'])
      self.assertLess(len(text), 1200)
    self.assert_answers()

  @parameterized.parameters(
      ('ModelInfer', b'\xff\xff', 'INVALID_ARGUMENT', 'message: torn'),
      ('ModelInfer', pb.ModelInferRequest(model_name='no'), 'NOT_FOUND', 'M'),
      ('ModelInfer', pb.ModelInferRequest(model_name='n' * 60000),
       'NOT_FOUND', 'Model n'),
      ('ModelInfer',
       pb.ModelInferRequest(model_name='limaml', model_version='9'),
       'NOT_FOUND', 'Model limaml with version 9'),
      ('ModelInfer', pb.ModelInferRequest(model_name='limaml'),
       'INVALID_ARGUMENT', 'entity: missing'),
      ('ModelInfer', pb.ModelInferRequest(model_name='limaml', id='x' * 300),
       'INVALID_ARGUMENT', 'id: send'),
      ('ModelInfer', b'x' * (_LIMIT + 1), 'RESOURCE_EXHAUSTED', ''),
      ('ModelMetadata', pb.ModelMetadataRequest(name='no'), 'NOT_FOUND', 'M'),
      ('ModelReady', pb.ModelReadyRequest(name='no'), 'NOT_FOUND', 'M'),
      ('ModelReady', b'\xff', 'INVALID_ARGUMENT', 'message: torn'),
      ('RepositoryIndex', b'\xff', 'INVALID_ARGUMENT', 'message: torn'),
      ('RepositoryModelUnload',
       pb.RepositoryModelUnloadRequest(model_name='limaml'),
       'PERMISSION_DENIED', 'repository: '),
      ('RepositoryModelLoad', pb.RepositoryModelLoadRequest(model_name='no'),
       'PERMISSION_DENIED', 'repository: '),
      ('Nothing', b'', 'UNIMPLEMENTED', ''),
      ('ModelStreamInfer', b'', 'UNIMPLEMENTED', 'ModelStreamInfer: '),
  )  # fmt: skip
  def test_wrong_call(self, method, message, code, place):
    is_raw = isinstance(message, bytes)
    data = message if is_raw else message.SerializeToString()
    found, details = self.call(method, data)
    self.assertEqual(found.name, code, msg=details)
    self.assertStartsWith(details, place)
    self.assertLess(len(details), 1200)
    self.assert_answers()

  def test_bomb_over_grpc(self):
    code, _ = self.call(
        'ModelInfer', b'\0' * 10_000_000, compression=grpc.Compression.Gzip
    )
    self.assertEqual(code, grpc.StatusCode.RESOURCE_EXHAUSTED)

  @parameterized.parameters('', 'a-token', _TOKEN + 'x', 'é')
  def test_wrong_token(self, token):
    status, headers, text = self.ask('POST', _INFER, json.dumps(_GOOD), None,
                                     **{'Authorization': f'Bearer {token}'}
                                     if token else {})  # fmt: skip
    self.assertEqual(status, 401)
    self.assertEqual(headers['www-authenticate'], 'Bearer')
    self.assertStartsWith(json.loads(text)['error'], 'authorization: ')

  @parameterized.parameters('', 'a-token', _TOKEN + 'x')
  def test_wrong_token_over_grpc(self, token):
    for method in (
        'ModelInfer',
        'ModelStreamInfer',
        'ModelMetadata',
        'ServerMetadata',
    ):
      code, details = self.call(method, b'', token)
      self.assertEqual(code, grpc.StatusCode.UNAUTHENTICATED)
      self.assertStartsWith(details, 'authorization: ')

  def test_health_is_for_everybody(self):
    self.assertEqual(self.ask('GET', '/v2/health/ready', token='')[0], 200)
    for method in ('ServerLive', 'ServerReady'):
      self.assertEqual(self.call(method, b'', '')[0], grpc.StatusCode.OK)

  def test_metrics_do_not_grow_with_made_up_names(self):
    for i in range(20):
      self.ask('POST', f'/v2/models/made-up-{i}/infer', json.dumps(_GOOD))
      named = pb.ModelInferRequest(model_name=f'made-up-{i}')
      self.call('ModelInfer', named.SerializeToString())
    self.assertNotIn('made-up', str(self.server.metrics()))

  def test_log_is_not_flooded_and_keeps_secrets(self):
    num_lines = len(self.server.lines)
    for _ in range(5):
      self.ask('POST', _INFER, changed(data=[{'x': _MARK}]))
      self.ask('POST', '/v2/models/nobody/infer', json.dumps(_GOOD))
      self.ask('POST', _INFER, json.dumps(_GOOD), token=_MARK)
      self.call('ModelInfer', b'\xff' + _MARK.encode())
      self.call('ModelMetadata', b'')
    self.assert_answers()
    self.assertLen(self.server.lines, num_lines, msg=self.server.log)
    for secret in (_MARK, _TOKEN):
      self.assertNotIn(secret, self.server.log)


if __name__ == '__main__':
  absltest.main()
