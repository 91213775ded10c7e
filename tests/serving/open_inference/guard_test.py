"""What no client can bring about at will; refusals_test has the rest."""

import asyncio
import gzip
import json

from absl.testing import absltest
from absl.testing import parameterized
import pytest

pytest.importorskip('mlserver', reason='THE PROTOCOL IS NOT TESTED')
from limaml_jax.serving.open_inference import access as access_lib  # noqa: E402
from limaml_jax.serving.open_inference import guard  # noqa: E402

_LIMIT = 2048


def run(app, parts, **headers):
  """Returns status and body of an answer to a body in parts."""
  sent = []
  messages = [{'type': 'http.request', 'body': part, 'more_body': True}
              for part in parts]  # fmt: skip
  if None in parts:
    messages[parts.index(None)] = {'type': 'http.disconnect'}
  messages[-1]['more_body'] = False

  async def receive():
    return messages.pop(0)

  async def send(message):
    sent.append(message)

  scope = {
      'type': 'http',
      'method': 'POST',
      'path': '/v2/x',
      'headers': [
          (name.replace('_', '-').encode(), value.encode())
          for name, value in headers.items()
      ],
  }
  guarded = guard.Guard(app, access_lib.Access(max_body_bytes=_LIMIT))
  asyncio.run(guarded(scope, receive, send))
  return sent[0]['status'], sent[1]['body']


async def echo(scope, receive, send):
  """Answers with the body, and the length that the headers tell."""
  message = await receive()
  headers = dict(scope['headers'])
  assert int(headers[b'content-length']) == len(message['body'])
  assert b'content-encoding' not in headers
  await send({'type': 'http.response.start', 'status': 200})
  await send({'type': 'http.response.body', 'body': message['body']})


async def crash(scope, receive, send):
  raise ValueError((await receive())['body'])


class GuardTest(parameterized.TestCase):

  def test_parts_are_joined_and_inflated(self):
    packed = gzip.compress(b'whole')
    self.assertEqual(
        run(echo, [packed[:5], packed[5:]], content_encoding='GZIP'),
        (200, b'whole'),
    )

  def test_limit_itself_is_let_in(self):
    self.assertEqual(run(echo, [b'x' * _LIMIT]), (200, b'x' * _LIMIT))
    packed = gzip.compress(b'x' * _LIMIT)
    self.assertEqual(run(echo, [packed], content_encoding='gzip')[0], 200)

  @parameterized.named_parameters(
      ('torn', gzip.compress(b'x')[:-1], 'is cut short'),
      ('followed', gzip.compress(b'x') + b'y', 'bytes follow its gzip'),
      ('other', b'plain text', 'body: no gzip'),
  )
  def test_bad_gzip(self, body, message):
    status, text = run(echo, [body], content_encoding='gzip')
    self.assertEqual(status, 400)
    self.assertIn(message, json.loads(text)['error'])

  def test_client_that_goes_away(self):
    self.assertEqual(run(echo, [b'x', None])[0], 400)

  def test_crash_is_one_line_and_logged_without_its_message(self):
    with self.assertLogs(level='ERROR') as logs:
      status, text = run(crash, [b'secret'])
    self.assertEqual(status, 500)
    self.assertStartsWith(json.loads(text)['error'], 'internal error')
    self.assertIn('ValueError', logs.output[0])
    self.assertIn('guard_test.py', logs.output[0])
    self.assertNotIn('secret', logs.output[0])


if __name__ == '__main__':
  absltest.main()
