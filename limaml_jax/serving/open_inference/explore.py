"""Explore: a page for people, and the JSON behind it, for this machine alone.

Whatever address the server is bound to, only a browser on the same machine is
answered, that asks by a name of this machine, and not through a proxy: a page
from elsewhere that has its own name point here (DNS rebinding) learns nothing.
"""

import base64
from collections.abc import Awaitable
from collections.abc import Callable
import functools
import hashlib
import ipaddress
import json
import pathlib
import re
import time
from typing import Any

import fastapi
from mlserver.handlers import custom_handler
import numpy as np

from limaml_jax import errors
from limaml_jax.serving import explorer as explorer_lib
from limaml_jax.store import lookup as lookup_lib

PATH = '/explore'
_PAGE = pathlib.Path(__file__).with_suffix('.html')
_INLINE = re.compile(r'<(script|style)>(.*?)</\1>', re.DOTALL)
_HOST = re.compile(r'(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?', re.IGNORECASE)
_FORWARDED = (
    'forwarded',
    'via',
    'x-forwarded-for',
    'x-forwarded-host',
    'x-forwarded-proto',
    'x-real-ip',
)
_OWN_SITE = ('same-origin', 'none')
_MAX_LIMIT = 200  # Rows of an answer.
_HEADERS = {
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-resource-policy': 'same-origin',
}

Query = fastapi.datastructures.QueryParams
Answer = Callable[[explorer_lib.Explorer, Query], Awaitable[dict[str, Any]]]


class Explorable:
  """What makes a model of MLServer explorable, once `explorer` is there."""

  name: str
  explorer: explorer_lib.Explorer | None = None

  @custom_handler(rest_path=PATH, rest_method='GET')
  async def explore(self, request: fastapi.Request) -> fastapi.Response:
    """Answers with the page."""
    refusal = self._refusal(request)
    return refusal or fastapi.Response(*_page())

  @custom_handler(rest_path=f'{PATH}/model', rest_method='GET')
  async def explore_model(self, request: fastapi.Request) -> fastapi.Response:
    """Answers with what model and snapshot there are."""

    async def answer(explorer, query):
      del query
      return {'name': self.name} | await _model(explorer)

    return await self._answer(request, answer)

  @custom_handler(rest_path=f'{PATH}/entities', rest_method='GET')
  async def explore_entities(
      self, request: fastapi.Request
  ) -> fastapi.Response:
    """Answers with known entities whose keys begin with `prefix`."""
    return await self._answer(request, _entities)

  @custom_handler(rest_path=f'{PATH}/scores', rest_method='GET')
  async def explore_scores(self, request: fastapi.Request) -> fastapi.Response:
    """Answers with the top `limit` candidates of `entity`."""
    return await self._answer(request, _scores)

  def _refusal(self, request: fastapi.Request) -> fastapi.Response | None:
    if not is_of_this_machine(request):
      return _json(403, {'error': f'{PATH}: open it on the server itself'})
    if self.explorer is None:
      return _json(404, {'error': f'{PATH}: is not served'})
    return None

  async def _answer(
      self, request: fastapi.Request, answer: Answer
  ) -> fastapi.Response:
    refusal = self._refusal(request)
    if refusal or not self.explorer:
      return refusal or _json(404, {})
    # Another site's page cannot read the answer, nor shall it make us work.
    if request.headers.get('sec-fetch-site', 'none') not in _OWN_SITE:
      return _json(403, {'error': f'{PATH}: is for its own page'})
    try:
      fields = await answer(self.explorer, request.query_params)
    except errors.InputError as error:
      return _json(400, {'error': str(error)})
    return _json(200, fields)


def is_of_this_machine(request: fastapi.Request) -> bool:
  """Says whether a request comes from here, asks for here, and comes straight.

  Args:
    request: of any client.
  """
  headers = request.headers
  if any(name in headers for name in _FORWARDED):
    return False
  # A proxy may add no header, as nginx left alone; no browser speaks 1.0.
  if request.scope.get('http_version') == '1.0':
    return False
  if not _HOST.fullmatch(headers.get('host', '')):
    return False
  client = request.client.host if request.client else ''
  try:
    address = ipaddress.ip_address(client)
  except ValueError:
    return False
  mapped = getattr(address, 'ipv4_mapped', None)
  return (mapped or address).is_loopback


async def _model(explorer: explorer_lib.Explorer) -> dict[str, Any]:
  found = await explorer.snapshot()
  loaded = explorer.loaded(found)
  manifest = loaded.bundle.manifest
  fits = found is not None and found.fingerprint == manifest.fingerprint
  return {
      'fingerprint': manifest.fingerprint,
      'bundle_version': manifest.version,
      'entity_type': manifest.entity_type,
      'num_items': manifest.tables.get('items', 0),
      'num_entities': manifest.tables.get('entities', 0),
      'num_candidates': len(await explorer.candidates(loaded)),
      'max_age_seconds': explorer.max_age_seconds(loaded),
      'snapshot': _snapshot(found, fits),
      'examples': await explorer.examples(loaded),
  }


def _snapshot(
    found: lookup_lib.Lookup | None, fits: bool
) -> dict[str, Any] | None:
  if found is None:
    return None
  age = int(time.time()) - found.cutoff if found.cutoff else None
  return {
      'version': found.version,
      'fingerprint': found.fingerprint,
      'fits': fits,
      'age_seconds': age if age is None else max(age, 0),
  }


async def _entities(
    explorer: explorer_lib.Explorer, query: Query
) -> dict[str, Any]:
  prefix = query.get('prefix', '')
  keys = await explorer.entities(prefix, _limit(query, 8))
  return {'prefix': prefix, 'keys': keys}


async def _scores(
    explorer: explorer_lib.Explorer, query: Query
) -> dict[str, Any]:
  entity = query.get('entity')
  if not entity:
    raise errors.InputError('entity: missing; send the key of one')
  limit = _limit(query, 20)
  moves = await explorer.moves(entity)
  of_adapted = explorer_lib.ranks(moves.adapted)
  of_default = explorer_lib.ranks(moves.default)
  shifts = moves.adapted.astype(np.float64) - moves.default
  counted = explorer_lib.histogram(shifts)
  top = np.flatnonzero(np.minimum(of_adapted, of_default) <= limit)
  top = top[np.argsort(of_adapted[top])]
  columns = (of_adapted, of_default, moves.adapted, moves.default)
  return {
      'entity': entity,
      'status': moves.status.name,
      'age_seconds': None if moves.age < 0 else moves.age,
      'max_age_seconds': moves.max_age_seconds,
      'snapshot': moves.snapshot,
      'fingerprint': moves.fingerprint,
      'bundle_version': moves.version,
      'num_candidates': len(moves.candidates),
      'limit': limit,
      'candidates': [
          {
              'key': moves.candidates[i],
              'adapted_rank': int(columns[0][i]),
              'default_rank': int(columns[1][i]),
              'adapted': float(columns[2][i]),
              'default': float(columns[3][i]),
          }
          for i in top.tolist()
      ],
      'shifts': {
          'limit': counted.limit,
          'counts': counted.counts.tolist(),
          'mean_size': float(np.abs(shifts).mean()) if len(shifts) else 0.0,
          'num_up': int((shifts > 0).sum()),
          'num_down': int((shifts < 0).sum()),
      },
  }


def _limit(query: Query, default: int) -> int:
  text = query.get('limit', str(default))
  if not re.fullmatch('[0-9]{1,4}', text) or not 0 < int(text) <= _MAX_LIMIT:
    raise errors.InputError(f'limit: {text!r:.40}; send 1 to {_MAX_LIMIT}')
  return int(text)


def _json(status: int, fields: dict[str, Any]) -> fastapi.Response:
  body = json.dumps(fields).encode()
  return fastapi.Response(body, status, _HEADERS, 'application/json')


@functools.cache
def _page() -> tuple[bytes, int, dict[str, str], str]:
  """Returns body, status, headers and media type of the page."""
  text = _PAGE.read_text(encoding='utf-8')
  # Nothing runs or is fetched but what stands in the file itself.
  allowed = {'script': [], 'style': []}
  for kind, inside in _INLINE.findall(text):
    digest = base64.b64encode(hashlib.sha256(inside.encode()).digest())
    allowed[kind].append(f"'sha256-{digest.decode()}'")
  policy = (
      "default-src 'none'; connect-src 'self'; base-uri 'none';"
      " form-action 'none'; frame-ancestors 'none';"
      f" script-src {' '.join(allowed['script'])};"
      f" style-src {' '.join(allowed['style'])}"
  )
  headers = _HEADERS | {'content-security-policy': policy}
  return text.encode(), 200, headers, 'text/html'
