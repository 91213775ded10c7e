"""Guard: an ASGI middleware that turns requests away before they are parsed."""

import asyncio
from collections.abc import Awaitable
from collections.abc import Callable
import json
import logging
from typing import Any
from urllib import parse
import zlib

from limaml_jax.serving.open_inference import access as access_lib
from limaml_jax.serving.open_inference import crash
from limaml_jax.serving.open_inference import rest

_LOGGER = logging.getLogger(__name__)
_HEALTH = '/v2/health/'
_PAGE = '/explore'  # Holds nothing itself, and asks for the token.
_METHODS = ('GET', 'HEAD', 'OPTIONS', 'POST')
_BODY_SECONDS = 30.0  # For a body to arrive.
_WINDOW_BITS = {b'gzip': 31, b'deflate': 15, b'': 0, b'identity': 0}

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class _Refused(Exception):

  def __init__(self, status: int, reason: str):
    super().__init__(reason)
    self.status = status


class Guard:
  """Lets in who bears the token, and bodies that are not too large."""

  def __init__(self, app: App, access: access_lib.Access):
    """Takes the application behind it."""
    self._app = app
    self._access = access

  async def __call__(
      self, scope: Message, receive: Receive, send: Send
  ) -> None:
    """Answers a request, or has the application answer it."""
    if scope['type'] != 'http':
      await self._app(scope, receive, send)
      return
    headers = dict(scope['headers'])
    path = scope['path'].removeprefix(scope.get('root_path', ''))
    is_open = path.startswith(_HEALTH) or path == _PAGE
    try:
      _check_address(scope['path'], headers.get(b'host', b''))
      if scope['method'] not in _METHODS:
        raise _Refused(405, f'method: send one of {", ".join(_METHODS)}')
      if not is_open and not self._access.admits(
          headers.get(b'authorization', b'')
      ):
        raise _Refused(401, 'authorization: send "Bearer" and the token')
      if scope['method'] == 'POST' and not rest.is_readable(
          headers.get(b'content-type', b'').decode('latin-1')
      ):
        raise _Refused(415, 'content-type: send application/json')
      body = await self._read(receive, headers)
    except _Refused as refusal:
      await _answer(send, refusal.status, str(refusal))
      return
    plain = (b'content-encoding', b'content-length')
    kept = [pair for pair in scope['headers'] if pair[0] not in plain]
    kept.append((b'content-length', str(len(body)).encode()))
    await self._run(scope | {'headers': kept}, _replay(body, receive), send)

  async def _run(self, scope, receive, send):
    """Runs the application; whatever it raises is one line to the client."""
    has_begun = False

    async def noting(message):
      nonlocal has_begun
      has_begun = True
      await send(message)

    try:
      await self._app(scope, receive, noting)
    except Exception as error:  # pylint: disable=broad-except
      crash.log(_LOGGER, scope['path'], error)
      if has_begun:
        raise
      await _answer(send, 500, crash.MESSAGE)

  async def _read(self, receive, headers) -> bytes:
    """Returns the whole body, decompressed."""
    limit = self._access.max_body_bytes
    encoding = headers.get(b'content-encoding', b'').lower()
    if encoding not in _WINDOW_BITS:
      raise _Refused(415, 'content-encoding: send gzip, deflate or none')
    length = headers.get(b'content-length', b'0')
    if length.isdigit() and int(length) > limit:
      raise _too_large(limit)
    parts, size = [], 0
    try:
      async with asyncio.timeout(_BODY_SECONDS):
        while True:
          message = await receive()
          if message['type'] == 'http.disconnect':
            raise _Refused(400, 'body: the client went away')
          parts.append(message.get('body', b''))
          size += len(parts[-1])
          if size > limit:
            raise _too_large(limit)
          if not message.get('more_body'):
            break
    except TimeoutError as error:
      raise _Refused(
          408, f'body: send all of it within {_BODY_SECONDS:.0f} seconds'
      ) from error
    return _inflated(b''.join(parts), encoding, limit)


def _check_address(path: str, host: bytes) -> None:
  """Refuses what Starlette would stumble over when it makes a URL of it."""
  if not path.startswith('/'):
    raise _Refused(400, 'path: send one that begins with "/"')
  try:
    parse.urlsplit(f'//{host.decode()}/')
  except ValueError as error:
    message = 'host: send a name or an address, and a port'
    raise _Refused(400, message) from error


def _inflated(body: bytes, encoding: bytes, limit: int) -> bytes:
  """Returns a body decompressed, of `limit` bytes or fewer."""
  window_bits = _WINDOW_BITS[encoding]
  if not (body and window_bits):
    return body
  inflater = zlib.decompressobj(window_bits)
  try:
    body = inflater.decompress(body, limit)
  except zlib.error as error:
    raise _Refused(400, f'body: no {encoding.decode()}: {error}') from error
  if inflater.unconsumed_tail:
    raise _too_large(limit)
  if not inflater.eof:
    raise _Refused(400, f'body: its {encoding.decode()} is cut short')
  if inflater.unused_data:
    raise _Refused(400, f'body: bytes follow its {encoding.decode()}')
  return body


def _too_large(limit: int) -> _Refused:
  return _Refused(413, f'body: send {limit} bytes or fewer')


def _replay(body: bytes, receive: Receive) -> Receive:
  """Returns a `receive` that tells of a body that was read already."""
  is_read = False

  async def replay():
    nonlocal is_read
    if is_read:
      return await receive()
    is_read = True
    return {'type': 'http.request', 'body': body, 'more_body': False}

  return replay


async def _answer(send: Send, status: int, reason: str) -> None:
  body = json.dumps({'error': reason}).encode()
  headers = [
      (b'content-type', b'application/json'),
      (b'content-length', str(len(body)).encode()),
  ]
  if status == 401:
    headers.append((b'www-authenticate', b'Bearer'))
  if status == 405:
    headers.append((b'allow', ', '.join(_METHODS).encode()))
  start = {'type': 'http.response.start', 'status': status, 'headers': headers}
  await send(start)
  await send({'type': 'http.response.body', 'body': body})
