"""What the URL of a Redis says, and that no password is ever shown."""

import os
import pathlib
import subprocess
import sys
import traceback
from unittest import mock
import urllib.parse

from absl.testing import absltest
from absl.testing import parameterized

from limaml_jax import errors
from limaml_jax.store import address
from limaml_jax.store.redis_store import place

_USER = {place.USERNAME: 'ann', place.PASSWORD: 'secret'}


class PlaceTest(parameterized.TestCase):

  @parameterized.parameters(
      ('redis://:secret@h', 'redis://h:6379'),
      ('redis://ann:secret@h:1/2', 'redis://h:1/2'),
      ('rediss://h?password=secret&ssl_password=secret', 'rediss://h:6379'),
      ('redis://ann:secret@[::1]:5', 'redis://[::1]:5'),
      ('unix://ann:secret@/run/redis?db=3', 'unix:///run/redis'),
      ('redis://h?prefix=a:b&db=2', 'redis://h:6379?prefix=a:b'),
  )
  def test_address_is_without_user_and_password(self, url, expected):
    self.assertEqual(address.open_backend(url).address, expected)

  @parameterized.parameters(
      # Passwords that were not percent-encoded.
      'redis://hush:hush/hush@h:1', 'redis://hush:hush#hush@h',
      'redis://:1/hush@h/0', 'redis://:hush?hush@h', 'redis://:1?hush=hush@h',
      'redis://:hu[sh@h', 'redis://h:hush', 'redis://h/hush', 'redis:hush',
      'redis://h/0#hush', 'unix://hush/run', 'unix://', 'redis://',
      'redis://h?db=hush', 'redis://:hush@h?socket_timeout=hush',
  )  # fmt: skip
  def test_what_is_no_address_is_not_repeated(self, url):
    with self.assertRaises(errors.InputError) as caught:
      address.open_backend(url)
    shown = ''.join(traceback.format_exception(caught.exception))
    self.assertNotIn('hu', shown)

  @parameterized.parameters('', 'a b', '{x}', 'é')
  def test_prefix_that_could_break_the_braces(self, prefix):
    with self.assertRaisesRegex(errors.InputError, 'prefix .*use letters'):
      address.open_backend(f'redis://h?prefix={prefix}')

  @parameterized.parameters(
      ('redis://h', 'socket_time', 'prefix, client_name'),
      ('redis://h', 'ssl_ca_certs', 'prefix, client_name'),
      ('rediss://h', 'ssl_ca_cert', 'ssl_ca_certs'),
  )
  def test_unknown_option_is_named(self, url, name, known):
    with self.assertRaisesRegex(errors.InputError, f"'{name}'; .*{known}"):
      address.open_backend(f'{url}?{name}=3')

  @parameterized.parameters('redis://127.0.0.1:1', 'rediss://127.0.0.1:1',
                            'unix:///nowhere')  # fmt: skip
  def test_redis_py_takes_every_option(self, url):
    options = {
        'client_name': 'x', 'db': 1, 'health_check_interval': 1,
        'max_connections': 2, 'password': 'x', 'socket_connect_timeout': 1,
        'socket_timeout': 1, 'username': 'x',
    }  # fmt: skip
    if url.startswith('rediss'):
      options |= {
          'ssl_ca_certs': 'x', 'ssl_ca_path': 'x', 'ssl_cert_reqs': 'none',
          'ssl_certfile': 'x', 'ssl_check_hostname': 'no', 'ssl_keyfile': 'x',
          'ssl_password': 'x',
      }  # fmt: skip
    store = address.open_backend(f'{url}?{urllib.parse.urlencode(options)}')
    with self.assertRaisesRegex(errors.InputError, 'cannot be reached'):
      store.versions('user')

  @parameterized.parameters(
      ('redis://h', 'ann', 'secret'),
      ('redis://bob@h', 'bob', 'secret'),
      ('redis://bob:other@h', 'bob', 'other'),
      ('redis://:other@h', None, 'other'),  # Of the default user, not of ann.
  )
  def test_environment_fills_in(self, url, username, password):
    with mock.patch.dict(os.environ, _USER):
      found = place.parse(url)
    self.assertEqual(found.options.get('username'), username)
    self.assertEqual(found.options.get('password'), password)

  def test_percent_encoded_password(self):
    found = place.parse('redis://:a%2Fb%40c@h')
    self.assertEqual(found.options['password'], 'a/b@c')
    self.assertEqual(
        place.redacted(found, 'no: a/b@c, a%2Fb%40c'), 'no: ***, ***'
    )

  def test_who_uses_lmdb_needs_no_client_and_nobody_jax(self):
    code = (
        'from limaml_jax.store import address, lookup, snapshot; import sys; '
        'address.open_backend("x"); print("redis" in sys.modules); '
        'address.open_backend("redis://h"); print("jax" in sys.modules)'
    )
    output = subprocess.check_output(
        [sys.executable, '-c', code],
        cwd=pathlib.Path(__file__).parents[2],
        text=True,
    )
    self.assertEqual(output, 'False\nFalse\n')


if __name__ == '__main__':
  absltest.main()
