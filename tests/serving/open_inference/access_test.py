import contextlib
import hmac
import pathlib
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import pytest

from limaml_jax import errors

pytest.importorskip('mlserver', reason='THE PROTOCOL IS NOT TESTED')
from limaml_jax.serving.open_inference import access as access_lib  # noqa: E402


class AccessTest(parameterized.TestCase):

  @parameterized.parameters(
      (b'Bearer secret', True), (b'bearer secret', True),
      (b'Bearer secre', False), (b'Bearer secrets', False),
      (b'Basic  secret', False), (b'secret', False), (b'', False),
  )  # fmt: skip
  def test_only_the_token_is_admitted(self, header, expected):
    access = access_lib.Access(token=b'secret')
    self.assertEqual(access.admits(header), expected)

  def test_without_a_token_everybody_is(self):
    self.assertTrue(access_lib.Access().admits(b''))

  def test_time_tells_nothing(self):
    access = access_lib.Access(token=b'secret')
    with mock.patch.object(
        hmac, 'compare_digest', wraps=hmac.compare_digest
    ) as compare:
      access.admits(b'Bearer x')
    compare.assert_called_once_with(b'x', b'secret')

  def test_repr_is_without_the_token(self):
    access = access_lib.read(environment={'LIMAML_TOKEN': 'secret'})
    self.assertEqual(access.token, b'secret')
    self.assertNotIn('secret', repr(access))

  @parameterized.named_parameters(
      ('small', {'max_body_bytes': 1023}, 'max_body_bytes is 1023'),
      ('text', {'max_body_bytes': '4096'}, "max_body_bytes is '4096'"),
      ('half_tls', {'tls_key': __file__}, 'set both'),
      ('no_file', {'tls_key': '/no', 'tls_certificate': '/no'}, '/no: No such'),
  )
  def test_wrong_argument_is_named(self, arguments, message):
    with self.assertRaisesRegex(
        errors.InputError,
        f'^settings.json: model_repository_implementation_args.*{message}',
    ):
      access_lib.read(**arguments, environment={})

  @parameterized.parameters(
      ('environment', {}, 'environment is unknown; there are max_body_bytes,'),
      ('max_body', 4096, 'max_body is unknown; there are max_body_bytes,'),
      ('max_body_bytes', True, 'max_body_bytes is True; set a whole number'),
      ('tls_key', 7, 'tls_key is 7; set a text'),
      ('max_body_bytes', 7, 'max_body_bytes is 7; set 1024 or more'),
  )
  def test_wrong_setting_is_named(self, name, value, message):
    with self.assertRaisesRegex(
        errors.InputError,
        f'^settings.json: model_repository_implementation_args.{message}',
    ):
      access_lib.parse({name: value})

  @parameterized.parameters(
      ('0.0.0.0', b'', True), ('::', b'', True), ('10.0.0.7', b'', True),
      ('example.org', b'', True), ('', b'', True),
      ('127.0.0.1', b'', False), ('127.8.0.1', b'', False),
      ('::1', b'', False), ('localhost', b'', False),
      ('0.0.0.0', b'secret', False),
  )  # fmt: skip
  def test_an_open_server_says_so(self, host, token, expected):
    access = access_lib.Access(token=token)
    with contextlib.ExitStack() as stack:
      check = self.assertLogs if expected else self.assertNoLogs
      stack.enter_context(check('limaml_jax', 'WARNING'))
      access_lib.warn_if_open(access, host)

  def test_files_are_named(self):
    path = str(pathlib.Path(__file__))
    access = access_lib.read(tls_certificate=path, tls_key=path, environment={})
    self.assertEqual(access.tls_certificate, path)


if __name__ == '__main__':
  absltest.main()
