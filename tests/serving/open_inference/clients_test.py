"""Stock clients against a real server: scores, metadata, metrics."""

import asyncio
import json
import subprocess

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import prometheus_client
import pytest

from limaml_jax.serving import metrics
from limaml_jax.serving import request as request_lib
from limaml_jax.serving import service as service_lib
from limaml_jax.serving import settings as settings_lib
from tests import served
from tests import triton_grpc

pytest.importorskip('mlserver', reason='THE SERVER IS NOT TESTED')
import grpc  # noqa: E402
from mlserver.grpc import dataplane_pb2 as pb  # noqa: E402
from mlserver.grpc import dataplane_pb2_grpc  # noqa: E402
from tritonclient import http as triton_http  # noqa: E402

_KINDS = {'i': 'INT64', 'f': 'FP64', 'O': 'BYTES'}
_FEATURES = {
    'hour': np.asarray([7.0, 20.0], np.float64),
    'page': np.asarray(['home', 'search'], object),
    'price': np.asarray([2.5, 0.5], np.float64),
    'item_id': np.asarray(['i1', 'i2'], object),
}
# Name, keys, candidates, num_candidates, features.
_CASES = (
    ('one_entity', ['u0001'], ['i1', 'i2', 'nobody'], None, {}),
    ('ragged', ['u0001', 'u0002', 'u0003'], ['i1', 'i2', 'i3'], [2, 0, 1], {}),
    ('rectangular', ['u0001', 'u0002'], [['i1', 'i2'], ['i3', 'i4']], None, {}),
    ('integers', [17], [1, 2], None, {'price': _FEATURES['price']}),
    ('features_win', ['u0001'], ['i1', 'i2'], None,
     {'price': _FEATURES['price']}),
    ('features_alone', ['u0001'], None, None, _FEATURES),
)  # fmt: skip


def make_arrays(keys, candidates, counts, features):
  """Returns the tensors of a request, by name."""
  texts = lambda values: np.asarray(
      values, np.int64 if isinstance(values[0], int) else object
  )
  arrays = {'entity': texts(keys)} | features
  if candidates is not None:
    arrays['candidates'] = texts(candidates)
  if counts is not None:
    arrays['num_candidates'] = np.asarray(counts, np.int64)
  return arrays


def make_inputs(arrays, **options):
  """Returns tensors as tritonclient wants them over HTTP."""
  inputs = []
  for name, array in arrays.items():
    kind = _KINDS[array.dtype.kind]
    tensor = triton_http.InferInput(name, list(array.shape), kind)
    inputs.append(tensor.set_data_from_numpy(array, **options))
  return inputs


def make_body(arrays):
  """Returns the JSON of a request."""
  return {
      'inputs': [
          {
              'name': name,
              'shape': list(array.shape),
              'datatype': _KINDS[array.dtype.kind],
              'data': array.tolist(),
          }
          for name, array in arrays.items()
      ]
  }


def by_http(test, arrays):
  client = triton_http.InferenceServerClient(test.server.http)
  inputs = make_inputs(arrays, binary_data=False)
  outputs = [triton_http.InferRequestedOutput('score', binary_data=False)]
  return client.infer('limaml', inputs, outputs=outputs).as_numpy('score')


def by_http_raw(test, arrays):
  client = triton_http.InferenceServerClient(test.server.http)
  result = client.infer('limaml', make_inputs(arrays))
  test.assertIn('binary_data_size', result.get_output('score')['parameters'])
  return result.as_numpy('score')


def by_grpc(test, arrays):
  found = test.triton.infer(test.server.grpc, arrays)
  return np.asarray(found['outputs']['score'])


def by_aio(test, arrays):
  found = test.triton.infer(test.server.grpc, arrays, is_async=True)
  return np.asarray(found['outputs']['score'])


def by_curl(test, arrays):
  answer = curl(
      f'http://{test.server.http}/v2/models/limaml/infer',
      '--json',
      json.dumps(make_body(arrays)),
  )
  score = next(o for o in answer['outputs'] if o['name'] == 'score')
  return np.asarray(score['data'], np.float32).reshape(score['shape'])


def curl(*arguments):
  done = subprocess.run(
      ['curl', '--silent', '--show-error', '--max-time', '20', *arguments],
      capture_output=True,
      check=True,
  )
  return json.loads(done.stdout)


_CLIENTS = (by_http, by_http_raw, by_grpc, by_aio, by_curl)


class ClientsTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.bundle = cls.enterClassContext(served.temporary_bundle())
    cls.service = service_lib.Service(
        cls.bundle.root,
        settings_lib.Settings(store=cls.bundle.store),
        metrics.Metrics(prometheus_client.CollectorRegistry()),
    )
    cls.addClassCleanup(cls.service.close)
    cls.triton = cls.enterClassContext(triton_grpc.Client())
    cls.server = cls.enterClassContext(served.serve(cls.bundle.root))

  def in_process(self, keys, candidates, counts, features):
    flat = None if candidates is None else np.ravel(candidates).tolist()
    texts = lambda values: values and [str(value) for value in values]
    request = request_lib.make(
        texts(keys),
        texts(flat),
        {n: request_lib.Given(a.tolist()) for n, a in features.items()},
        counts=None if counts is None else np.asarray(counts),
        limits=self.service.settings,
    )
    return asyncio.run(self.service.score(request)).scores

  @parameterized.named_parameters(
      (f'{case[0]}_{client.__name__}', client, *case[1:])
      for case in _CASES
      for client in _CLIENTS
  )
  def test_score_is_that_in_process(self, client, keys, rows, counts, given):
    scores = client(self, make_arrays(keys, rows, counts, given))
    shape = np.shape(rows if rows is not None else _FEATURES['hour'])
    expected = self.in_process(keys, rows, counts, given)
    self.assertEqual(scores.shape, shape)
    np.testing.assert_allclose(scores.ravel(), expected, rtol=1e-6)
    self.assertGreater(np.ptp(scores), 0)

  def test_outputs_are_those_asked_for(self):
    arrays = make_arrays(['u0001'], ['i1'], None, {})
    found = self.triton.infer(
        self.server.grpc, arrays, outputs=['status'], id='seven'
    )
    self.assertEqual(
        found, {'id': 'seven', 'outputs': {'status': ['PRESENT']}}
    )

  def test_unknown_output_is_named_over_grpc(self):
    arrays = make_arrays(['u0001'], ['i1'], None, {})
    found = self.triton.infer(self.server.grpc, arrays, outputs=['speed'])
    self.assertEqual(found['status'], 'StatusCode.INVALID_ARGUMENT')
    self.assertStartsWith(found['error'], "outputs: no 'speed'; there are")

  def test_unknown_output_is_named_over_http(self):
    arrays = make_arrays(['u0001'], ['i1'], None, {})
    client = triton_http.InferenceServerClient(self.server.http)
    with self.assertRaisesRegex(Exception, "outputs: no 'speed'; there are"):
      client.infer(
          'limaml',
          make_inputs(arrays),
          outputs=[triton_http.InferRequestedOutput('speed')],
      )

  def test_metadata_over_both(self):
    rest = triton_http.InferenceServerClient(self.server.http)
    for metadata in (
        rest.get_model_metadata('limaml'),
        self.triton.metadata(self.server.grpc),
    ):
      inputs = {i['name']: i['datatype'] for i in metadata['inputs']}
      self.assertEqual(inputs['entity'], 'BYTES')
      self.assertEqual(inputs['price'], 'FP64')
      outputs = [output['name'] for output in metadata['outputs']]
      self.assertEqual(outputs, ['score', 'status', 'age_seconds', 'snapshot'])

  def test_fingerprint_over_both(self):
    rest = triton_http.InferenceServerClient(self.server.http)
    with grpc.insecure_channel(self.server.grpc) as channel:
      stub = dataplane_pb2_grpc.GRPCInferenceServiceStub(channel)
      found = stub.ModelMetadata(pb.ModelMetadataRequest(name='limaml'))
    parameters = rest.get_model_metadata('limaml')['parameters']
    fingerprint = self.bundle.line.refresher.fingerprint
    self.assertEqual(parameters['fingerprint'], fingerprint)
    self.assertEqual(
        found.parameters['fingerprint'].string_param, fingerprint
    )

  def test_prometheus_sees_everything(self):
    before = self.server.metrics()
    by_grpc(self, make_arrays(['u0001', 'no'], ['i1', 'x'], None, {}))
    after = self.server.metrics()
    grown = lambda name: after[name] - before[name]
    for stage in ('lookup', 'features', 'compute'):
      name = f'limaml_stage_seconds_count{{stage="{stage}"}}'
      self.assertEqual(grown(name), 1, msg=stage)
    self.assertEqual(grown('limaml_embeddings_total{status="PRESENT"}'), 1)
    self.assertEqual(grown('limaml_embeddings_total{status="MISSING"}'), 1)
    self.assertEqual(grown('limaml_candidates_sum'), 2)
    self.assertEqual(grown('limaml_unknown_candidates_total'), 1)
    self.assertEqual(after['limaml_store_failures_total{reason="down"}'], 0)
    self.assertEqual(after['limaml_snapshot_version'], 1)
    self.assertEqual(after['limaml_bundle_version'], 1)
    self.assertGreater(after['limaml_snapshot_age_seconds'], 0)


if __name__ == '__main__':
  absltest.main()
