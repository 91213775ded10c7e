"""What goes wrong between the store and a Redis, each as one line."""

import contextlib
import os
import socketserver
import subprocess
import tempfile
import threading
import time
import traceback
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax import errors
from limaml_jax.store import address
from limaml_jax.store import lookup
from limaml_jax.store import record
from limaml_jax.store import snapshot
from limaml_jax.store.redis_store import connection
from limaml_jax.store.redis_store import place
from tests import ports
from tests.store import conformance
from tests.store import redis_server
from tests.store import stamped


class FaultsTest(parameterized.TestCase):
  """Starts servers that a test may ruin."""

  def start(self, **options):
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    server = redis_server.Server(folder.name, **options)
    self.addCleanup(server.kill)
    return server

  def publish(self, store, **changes):
    manifest = snapshot.write_arrays(
        store, 'user', **conformance.ARRAYS, **conformance.SETTINGS | changes
    )
    snapshot.publish(store, 'user', manifest.version)
    return manifest

  def refused(self, message):
    return self.assertRaisesRegex(errors.InputError, message)

  def assert_serves(self, store, version):
    with lookup.Reader(store, 'user') as reader:
      answer = reader.lookup(['a', 'b'])
    self.assertEqual(answer.version, version)
    np.testing.assert_array_equal(answer.vectors, [[1, -2], [3, 4]])


class ConnectionTest(FaultsTest):

  @parameterized.parameters('unix:///nowhere/s', 'redis://127.0.0.1:1')
  def test_down(self, url):
    store = address.open_backend(url)
    for ask in (store.versions, store.follow, self.write_nothing(store)):
      with self.refused(f'^{url}: cannot be reached .*start the server'):
        ask('user')

  def test_slow_then_well_again(self):
    server = self.start()
    store = address.open_backend(server.url + '?socket_timeout=0.2')
    self.publish(store)
    with lookup.Reader(store, 'user') as reader:
      server.freeze()
      start = time.monotonic()
      for _ in range(2):
        with self.refused('no answer in time.*raise socket_timeout'):
          reader.lookup(['a'])
      self.assertLess(time.monotonic() - start, 4)  # By default 5 s each.
      server.thaw()
      # Not the answer of the question that came too late.
      vectors = reader.lookup(['b', 'a']).vectors
    np.testing.assert_array_equal(vectors, [[3, 4], [1, -2]])

  def test_what_is_cut_off_is_asked_again(self):
    with _answering('*1\r\n$8\r\n00000007', num_cut=2) as url:
      store = address.open_backend(url)
      self.assertEqual(store.versions('user'), ['00000007'])

  def test_server_restarted_under_a_reader(self):
    server = self.start(appendonly='yes', appendfsync='always')
    store = address.open_backend(server.url)
    self.publish(store)
    with lookup.Reader(store, 'user') as reader:
      server.kill()
      with self.refused('cannot be reached'):
        reader.lookup(['a'])
      server.start()
      self.assertEqual(reader.lookup(['a']).version, '00000001')

  def test_certificates(self):
    folder = self.create_tempdir().full_path
    key, certificate = f'{folder}/key', f'{folder}/certificate'
    subprocess.run(
        ['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj',
         '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1',
         '-keyout', key, '-out', certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    port = ports.free_ports(1)[0]
    try:
      self.start(
          tls_port=str(port), tls_cert_file=certificate, tls_key_file=key,
          tls_ca_cert_file=certificate, tls_auth_clients='no',
      )  # fmt: skip
    except AssertionError as error:
      self.skipTest(f'REDIS TLS IS NOT TESTED, by this server: {error}')
    url = f'rediss://127.0.0.1:{port}/0'
    store = address.open_backend(f'{url}?ssl_ca_certs={certificate}')
    self.publish(store)
    self.assert_serves(store, '00000001')
    self.assertEqual(store.address, url)
    for wrong in (url, f'redis://127.0.0.1:{port}/0'):
      with self.refused('(certificate|closed|reset).*certificates'):
        address.open_backend(wrong).versions('user')

  def write_nothing(self, store):
    return lambda entity_type: snapshot.write(
        store, entity_type, [], **conformance.SETTINGS
    )


class AnswerTest(FaultsTest):
  """Answers that a healthy server does not give."""

  @parameterized.parameters(
      ('-LOADING Redis is loading the dataset in memory', 'still loads'),
      ('-MOVED 3999 10.0.0.1:6381', '3999 10.0.0.1:6381.*of that node'),
      ('-CLUSTERDOWN Hash slot not served', 'a cluster that is not whole'),
      ('-TRYAGAIN Multiple keys request', 'is moving keys'),
      ("-CROSSSLOT Keys in request don't hash", 'is moving keys'),
      ('-MISCONF Redis is configured to save RDB', 'cannot save to its disk'),
      ('-NOREPLICAS Not enough good replicas', 'too few of its replicas'),
      ('-MASTERDOWN Link with MASTER is down', 'lost its primary'),
      ('-ERR max number of clients reached', 'max number of clients'),
      ("-ERR unknown command 'HKEYS'", 'unknown command.*Redis 6 or newer'),
      ('-ERR Error running script: @user_script:2: -OOM command', 'maxmemory'),
      ('HTTP/1.1 400 Bad Request', 'no Redis'),
  )
  def test_answer(self, answer, message):
    with _answering(answer) as url:
      with self.refused(f'^{url}: .*{message}'):
        address.open_backend(url).versions('user')

  def test_replica_does_not_write(self):
    server = self.start()
    store = address.open_backend(server.url)
    self.publish(store)
    # Which is out of reach; so it keeps what it has.
    server.admin().replicaof('127.0.0.1', '1')
    self.assert_serves(store, '00000001')
    with self.refused('only reads; give the address of the primary'):
      self.publish(store)
    with self.refused('only reads; give the address of the primary'):
      store.publish('user', '00000001')

  @parameterized.parameters('manifests', 'published', 'latest')
  def test_keys_of_others(self, name):
    server = self.start()
    server.admin().xadd(f'limaml:{{user}}:{name}', {'x': 1})
    with self.refused('choose another .prefix='):
      self.publish(address.open_backend(server.url))


class PasswordTest(FaultsTest):

  def test_password_of_the_url_or_the_environment(self):
    server = self.start(requirepass='hush', port=True)
    right = server.tcp_url.replace('//', '//:hush@')
    self.publish(address.open_backend(right))
    with mock.patch.dict(os.environ, {place.PASSWORD: 'hush'}):
      store = address.open_backend(server.tcp_url)
    self.assert_serves(store, '00000001')
    self.assertEqual(store.address, server.tcp_url)

  def test_user_of_the_environment(self):
    server = self.start()
    server.admin().acl_setuser(
        'ann', enabled=True, passwords=['+hush'], keys=['*'],
        categories=['+@all'],
    )  # fmt: skip
    server.admin().acl_setuser('default', enabled=False)
    with mock.patch.dict(
        os.environ, {place.USERNAME: 'ann', place.PASSWORD: 'hush'}
    ):
      store = address.open_backend(server.url)
    self.publish(store)
    self.assert_serves(store, '00000001')

  @parameterized.parameters(':hushhush@', 'ann:hushhush@', '')
  def test_wrong_password_is_refused_at_once_and_not_shown(self, user):
    server = self.start(requirepass='hush', port=True)
    store = address.open_backend(server.tcp_url.replace('//', '//' + user))
    with mock.patch.object(connection.time, 'sleep') as pause:
      with self.refused(f'^{server.tcp_url}: wrong user or pass') as caught:
        store.follow('user')
    pause.assert_not_called()  # Nobody is locked out for trying again.
    self.assert_silent(caught.exception)

  def test_password_is_not_shown_when_the_server_is_down(self):
    for url in ('redis://ann:hush@127.0.0.1:1', 'unix://ann:hush@/nowhere'):
      with self.refused('cannot be reached') as caught:
        address.open_backend(url).versions('user')
      self.assert_silent(caught.exception)

  def test_password_that_the_server_repeats_is_not_shown(self):
    with _answering('-ERR ann:hush may not') as url:
      store = address.open_backend(url.replace('//', '//ann:hush@'))
      with self.refused('refused') as caught:
        store.versions('user')
    self.assert_silent(caught.exception)

  def test_reader_without_permission_to_write(self):
    server = self.start()
    self.publish(address.open_backend(server.url))
    server.admin().acl_setuser(
        'ann', enabled=True, passwords=['+hush'], keys=['limaml:*'],
        commands=['+get', '+hget', '+hlen', '+hmget'],
    )  # fmt: skip
    store = address.open_backend(server.url.replace('//', '//ann:hush@'))
    self.assert_serves(store, '00000001')
    with self.refused('this user may not do that') as caught:
      self.publish(store)
    self.assert_silent(caught.exception)

  def assert_silent(self, error):
    shown = ''.join(traceback.format_exception(error))
    self.assertNotIn('hush', shown)


class LoadTest(FaultsTest):
  """A server that fails while a snapshot is written."""

  @parameterized.parameters(None, '00000001')
  def test_restarted_in_the_middle(self, base):
    server = self.start(appendonly='yes', appendfsync='always')
    store = address.open_backend(server.url)
    self.publish(store)

    def restart():
      server.kill()
      thread = threading.Timer(0.3, server.start)
      thread.start()
      self.addCleanup(thread.join)

    manifest = self.write(store, restart, base=base)
    snapshot.publish(store, 'user', manifest.version)
    self.assertEqual(manifest.count, 2002 if base else 2000)

  @parameterized.parameters(None, '00000001')
  def test_restarted_with_an_earlier_state(self, base):
    server = self.start()
    store = address.open_backend(server.url)
    self.publish(store)

    def restart():
      server.kill()
      server.start()

    with self.refused('lost records.*run again'):
      self.write(store, restart, base=base, before=server.admin().save)
    self.assert_serves(store, '00000001')
    self.assertEqual(store.versions('user'), ['00000001'])
    self.assertEqual(server.admin().keys('*unfinished*'), [])

  def test_replaced_records_are_lost_though_their_number_is_right(self):
    server = self.start()
    store = address.open_backend(server.url)
    self.publish(store)
    with self.refused('lost records.*run again'):
      with store.new_snapshot('user', '00000001') as writer:
        server.admin().save()
        writer.put([b'a', b'b'], np.zeros(2, record.layout(2, 'float32')))
        server.kill()
        server.start()
        writer.finish(lambda written: stamped.describe(written, 'user'))
    self.assert_serves(store, '00000001')

  def test_out_of_memory_in_the_middle(self):
    server = self.start()
    store = address.open_backend(server.url)
    self.publish(store)
    admin = server.admin()

    def fill():
      admin.config_set('maxmemory', admin.info('memory')['used_memory'] + 20000)

    with self.refused('out of memory .its maxmemory.; raise it'):
      self.write(store, fill)
    self.assert_serves(store, '00000001')
    self.assertEqual(admin.keys('*unfinished*'), [])
    admin.config_set('maxmemory', 0)
    self.assertEqual(self.write(store, lambda: None).version, '00000002')

  def test_out_of_memory_at_the_last_step(self):
    server = self.start()
    store = address.open_backend(server.url)
    manifest = self.publish(store)
    admin = server.admin()
    with self.refused('out of memory'):
      with store.new_snapshot('user') as writer:

        def describe(written):
          if written.version != '00000000':
            admin.config_set('maxmemory', 1)
          return stamped.describe(written, 'user')

        writer.finish(describe)
    self.assertEqual(store.versions('user'), ['00000001'])
    with self.refused('out of memory'):
      store.publish('user', '00000001')
    self.assertEqual(store.manifest('user', '00000001'), manifest)
    self.assert_serves(store, '00000001')

  def write(self, store, in_the_middle, *, base=None, before=lambda: None):
    """Writes 1000 entities, something happens, then another 1000."""
    def chunks():
      for half in range(2):
        keys = [f'{half} {i:04d}' for i in range(1000)]
        yield record.Chunk(keys, np.ones((1000, 2)), np.ones(1000, int))
        if not half:
          in_the_middle()

    before()
    return snapshot.write(
        store, 'user', chunks(), base=base, **conformance.SETTINGS
    )


@contextlib.contextmanager
def _answering(answer, num_cut=0):
  """Yields the URL of something that says the same to whatever is asked.

  Args:
    answer: without the end of its last line.
    num_cut: questions at which it hangs up first.
  """
  cuts = iter(range(num_cut))

  class Handler(socketserver.BaseRequestHandler):

    def handle(self):
      with contextlib.suppress(OSError):
        while asked := self.request.recv(65536):
          # To log in is granted.
          commands = asked.count(b'AUTH') + asked.count(b'SETINFO')
          if commands:
            self.request.sendall(b'+OK\r\n' * commands)
          elif next(cuts, None) is not None:
            return
          else:
            self.request.sendall(answer.encode() + b'\r\n')

  with socketserver.ThreadingTCPServer(('127.0.0.1', 0), Handler) as server:
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
      yield f'redis://127.0.0.1:{server.server_address[1]}'
    finally:
      server.shutdown()
      thread.join()


if __name__ == '__main__':
  absltest.main()
