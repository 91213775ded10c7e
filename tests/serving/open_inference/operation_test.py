"""A server whose store and bundle change, which speaks TLS, and which ends."""

import dataclasses
import http.client
import json
import pathlib
import socket
import ssl
import subprocess
import tempfile
import threading
import time

from absl.testing import absltest
import numpy as np
import pytest

from limaml_jax.bundle import directory
from tests import served
from tests import small_bundle
from tests import triton_grpc

pytest.importorskip('mlserver', reason='THE SERVER IS NOT TESTED')
from tritonclient import http as triton_http  # noqa: E402

_INFER = '/v2/models/limaml/infer'
_ARRAYS = {
    'entity': np.asarray(['u0001'], object),
    'candidates': np.asarray(['i1', 'i2'], object),
}
_BODY = json.dumps({
    'inputs': [
        {'name': name, 'shape': list(array.shape), 'datatype': 'BYTES',
         'data': array.tolist()}
        for name, array in _ARRAYS.items()
    ]
})  # fmt: skip


def ask(server):
  """Returns the answer to a good request, as its parts."""
  connection = http.client.HTTPConnection(server.http, timeout=20)
  connection.request('POST', _INFER, _BODY)
  answer = connection.getresponse()
  fields = json.loads(answer.read())
  connection.close()
  if answer.status != 200:
    raise AssertionError(f'{answer.status}: {fields}')
  outputs = {o['name']: o['data'] for o in fields['outputs']}
  return outputs | fields['parameters']


def wait_until(server, is_so, seconds=served.PATIENCE_SECONDS):
  """Asks until an answer is so; returns how long that took, in seconds."""
  start = time.monotonic()
  while not is_so(ask(server)):
    if time.monotonic() > start + seconds:
      raise AssertionError(f'not so within {seconds} s:\n{server.log[-3000:]}')
  return time.monotonic() - start


class OperationTest(absltest.TestCase):
  """One bundle and one server; each test publishes or exports more."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.bundle = cls.enterClassContext(served.temporary_bundle())
    cls.server = cls.enterClassContext(served.serve(cls.bundle.root))

  def while_asking(self, change):
    """Changes something while requests run, none of which may fail."""
    done = threading.Event()
    failures = []

    def ask_on():
      while not done.is_set():
        try:
          ask(self.server)
        except Exception as error:  # pylint: disable=broad-except
          failures.append(error)

    asker = threading.Thread(target=ask_on)
    asker.start()
    try:
      return change()
    finally:
      done.set()
      asker.join()
      self.assertEmpty(failures)

  def test_new_snapshot_is_picked_up_within_a_second(self):
    before = int(ask(self.server)['snapshot'][0])

    def publish():
      version = self.bundle.line.refresher.publish(self.bundle.cutoff).version
      self.assertGreater(int(version), before)
      return wait_until(self.server, lambda a: a['snapshot'] == [version])

    self.assertLess(self.while_asking(publish), 1.0)

  def test_new_export_is_picked_up(self):
    before = int(ask(self.server)['bundle_version'])
    served_name = 'limaml_reloads_total{outcome="served"}'
    num_served = self.server.metrics()[served_name]

    def export():
      small_bundle.write(self.bundle)
      wait_until(self.server, lambda a: int(a['bundle_version']) > before)

    self.while_asking(export)
    self.assertGreater(self.server.metrics()[served_name], num_served)

  def test_corrupt_export_is_refused(self):
    good = ask(self.server)
    root = self.bundle.root
    current = root / 'CURRENT'
    version = f'{int(current.read_text()) + 1:08d}'
    kept = current.read_text()
    old = directory.version_path(root, kept.strip())
    new = directory.version_path(root, version)
    subprocess.run(['cp', '-r', old, new], check=True)
    # Whole, but for the weights: nothing else is to be refused.
    manifest = dataclasses.replace(
        directory.read_manifest(root, kept.strip()), version=version
    )
    (new / directory.MANIFEST).write_text(manifest.to_json())
    with open(new / directory.WEIGHTS, 'r+b') as weights:
      weights.write(b'torn')

    def point():
      (root / 'NEXT').write_text(version)
      (root / 'NEXT').rename(current)
      self.server.wait_for('a new version is not served')

    try:
      self.while_asking(point)
      self.assertRegex(self.server.log, 'is not served: .*weights.npz')
      self.assertEqual(ask(self.server)['score'], good['score'])
      refused = 'limaml_reloads_total{outcome="refused"}'
      self.assertEqual(self.server.metrics()[refused], 1)
    finally:
      subprocess.run(['rm', '-r', new], check=True)
      (root / 'NEXT').write_text(kept)
      (root / 'NEXT').rename(current)

  def test_listens_to_this_machine_alone(self):
    for port in (self.server.http_port, self.server.grpc_port):
      with self.assertRaises(ConnectionRefusedError):
        socket.create_connection(('127.0.0.2', port), timeout=5)


class StartTest(absltest.TestCase):
  """What a server says of its settings."""

  def start(self, **options):
    bundle = self.enterContext(served.temporary_bundle())
    options |= {'wait': False}
    return self.enterContext(served.serve(bundle.root, **options))

  def test_an_unknown_argument_is_one_line_and_the_end(self):
    server = self.start(access={'environment': {'LIMAML_TOKEN': ''}})
    self.assertNotEqual(server.wait(), 0)
    self.assertEndsWith(
        server.lines[-1],
        'model_repository_implementation_args.environment is unknown; there are'
        ' max_body_bytes, tls_certificate, tls_key',
    )

  def test_an_open_server_says_so_once(self):
    server = self.start(settings={'host': '0.0.0.0'})
    server.wait_until_ready()
    self.assertEqual(server.log.count('there is no token'), 1)


class SecureTest(absltest.TestCase):
  """TLS, readiness and the end, of one server."""

  def test_tls_readiness_and_a_graceful_end(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    key, certificate = folder / 'key.pem', folder / 'certificate.pem'
    subprocess.run(
        ['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes',
         '-keyout', key, '-out', certificate, '-days', '2',
         '-subj', '/CN=localhost',
         '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'],
        check=True, capture_output=True,
    )  # fmt: skip
    bundle = self.enterContext(served.temporary_bundle())
    server = self.enterContext(
        served.serve(
            bundle.root,
            access={'tls_certificate': str(certificate), 'tls_key': str(key)},
            wait=False,
        )
    )
    trusted = ssl.create_default_context(cafile=str(certificate))
    server.wait_for(f':{server.http_port} (Press')
    self.assertEqual(self.ready(server, trusted), 400)  # It still compiles.
    server.wait_until_ready()
    self.assertEqual(self.ready(server, trusted), 200)

    done = subprocess.run(
        ['curl', '--silent', '--fail', '--cacert', certificate,
         '--json', _BODY, f'https://{server.http}{_INFER}'],
        check=True, capture_output=True,
    )  # fmt: skip
    outputs = json.loads(done.stdout)['outputs']
    expected = outputs[0]['data']
    with triton_grpc.Client() as client:
      found = client.infer(
          server.grpc, _ARRAYS, certificate=str(certificate)
      )
    np.testing.assert_allclose(found['outputs']['score'], expected, rtol=1e-6)
    rest = triton_http.InferenceServerClient(
        server.http,
        ssl=True,
        ssl_context_factory=lambda: trusted,
    )
    self.assertTrue(rest.is_model_ready('limaml'))
    with self.assertRaises((ConnectionError, http.client.HTTPException)):
      plain = http.client.HTTPConnection(server.http, timeout=20)
      plain.request('GET', '/v2')
      plain.getresponse()

    self.assert_ends_gracefully(server, trusted, expected)

  def ready(self, server, context):
    connection = http.client.HTTPSConnection(server.http, context=context)
    connection.request('GET', '/v2/health/ready')
    status = connection.getresponse().status
    connection.close()
    return status

  def assert_ends_gracefully(self, server, context, expected):
    """Half of a request has come when it is asked to end: it is answered."""
    connection = http.client.HTTPSConnection(server.http, context=context)
    connection.putrequest('POST', _INFER)
    connection.putheader('content-length', str(len(_BODY)))
    connection.endheaders(_BODY[:20].encode())
    self.assertEqual(self.ready(server, context), 200)  # It has read that.
    start = time.monotonic()
    server.process.terminate()
    server.wait_for('Shutting down')
    connection.send(_BODY[20:].encode())
    answer = connection.getresponse()
    self.assertEqual(answer.status, 200)
    outputs = json.loads(answer.read())['outputs']
    self.assertEqual(outputs[0]['data'], expected)
    connection.close()
    self.assertEqual(server.wait(), 0)
    # A client above still keeps a connection idle: TLS alone would wait 30 s.
    self.assertLess(time.monotonic() - start, 20)
    self.assertNotIn('Traceback', server.log)


if __name__ == '__main__':
  absltest.main()
