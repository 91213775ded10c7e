"""Place: what the URL of a Redis and the environment say, and what is shown.

Passwords go into `options` and nowhere else: not into the address, and not into
messages, not even by way of the error that one was raised from.
"""

import os
import re
from typing import Any
from typing import NamedTuple
import urllib.parse

import redis

from limaml_jax import errors

USERNAME = 'LIMAML_REDIS_USERNAME'
PASSWORD = 'LIMAML_REDIS_PASSWORD'
_EXAMPLES = 'redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH'
_PREFIX_PATTERN = re.compile(r'[A-Za-z0-9_.:-]+')
_OPTIONS = frozenset({
    'client_name', 'db', 'health_check_interval', 'max_connections', 'password',
    'socket_connect_timeout', 'socket_timeout', 'username',
})  # fmt: skip
_TLS_OPTIONS = frozenset({
    'ssl_ca_certs', 'ssl_ca_path', 'ssl_cert_reqs', 'ssl_certfile',
    'ssl_check_hostname', 'ssl_keyfile', 'ssl_password',
})  # fmt: skip


class Place(NamedTuple):
  """A Redis.

  Attributes:
    address: for people, without user and password.
    prefix: of all keys.
    options: of redis-py's connections.
    secrets: what no message may show.
  """

  address: str
  prefix: str
  options: dict[str, Any]
  secrets: tuple[str, ...]


def parse(url: str) -> Place:
  """Reads a URL; user and password that it lacks come from the environment.

  Raises:
    InputError: if it is none, or has unknown options.
  """
  try:
    parts = urllib.parse.urlsplit(url)
    _ = parts.port
    fields = urllib.parse.parse_qs(parts.query, keep_blank_values=True)
  except ValueError:
    # What it says may quote part of a password.
    raise _not_understood(url) from None
  # A password with a letter that ends it leaves its rest, and the @, behind.
  if '@' in parts.path + parts.query + parts.fragment or parts.fragment:
    raise _not_understood(url)
  shown = _shown(url, parts)
  prefix = fields.pop('prefix', ['limaml'])[-1]
  if not _PREFIX_PATTERN.fullmatch(prefix):
    raise errors.InputError(
        f'{shown}: prefix {prefix!r}: use letters, digits, "_", "-", ".", ":"'
    )
  known = _OPTIONS | (_TLS_OPTIONS if parts.scheme == 'rediss' else set())
  for name in fields:
    if name not in known:
      raise errors.InputError(
          f'{shown}: unknown option {name!r}; there are prefix, '
          + ', '.join(sorted(known))
      )
  rest = urllib.parse.urlencode(fields, doseq=True)
  try:
    options: dict[str, Any] = redis.connection.parse_url(
        f'{parts.scheme}://{parts.netloc}{parts.path}?{rest}'
    )
  except ValueError as error:  # Names the option, not its value.
    raise errors.InputError(f'{shown}: {error}') from None
  for name, variable in (('username', USERNAME), ('password', PASSWORD)):
    if os.environ.get(variable) and not (
        options.get('password') or options.get(name)
    ):
      options[name] = os.environ[variable]
  secrets = [options.get('password'), options.get('ssl_password')]
  if prefix != 'limaml':
    shown += f'?prefix={prefix}'
  return Place(shown, prefix, options, tuple(filter(None, secrets)))


def redacted(place: Place, text: str) -> str:
  """Returns a message of others without what must not be shown."""
  for secret in place.secrets:
    for form in (secret, urllib.parse.quote(secret, safe='')):
      text = text.replace(form, '***')
  return text


def _shown(url: str, parts: urllib.parse.SplitResult) -> str:
  """Returns the URL without user, password and options."""
  if parts.scheme == 'unix':
    if parts.hostname or not parts.path.strip('/'):
      raise _not_understood(url)
    return f'unix://{parts.path}'
  if not parts.hostname or not re.fullmatch('/?|/[0-9]+', parts.path):
    raise _not_understood(url)
  host = f'[{parts.hostname}]' if ':' in parts.hostname else parts.hostname
  return f'{parts.scheme}://{host}:{parts.port or 6379}{parts.path}'


def _not_understood(url: str) -> errors.InputError:
  scheme = url.partition(':')[0]
  return errors.InputError(
      f'--store={scheme}:...: not an address of a Redis; write {_EXAMPLES},'
      ' with "/", "#", "?", "%" and "@" of a password as %2F, %23, %3F, %25 and'
      f' %40, or set {PASSWORD}'
  )
