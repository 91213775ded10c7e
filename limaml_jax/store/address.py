"""Addresses of stores: which back end keeps the snapshots, and where."""

import os
import urllib.parse

from limaml_jax import errors
from limaml_jax.store import backend as backend_lib

_LMDB = 'lmdb'
_REDIS = ('redis', 'rediss', 'unix')
EXPECTED = 'lmdb:PATH, redis://HOST:PORT/DB, rediss:// for TLS, or unix://PATH'


def open_backend(address: str | os.PathLike[str]) -> backend_lib.Backend:
  """Returns the back end of an address; connects to nothing yet.

  Args:
    address: `lmdb:PATH` or a bare path, or a URL of Redis.

  Raises:
    InputError: if it is none of these.
  """
  text = os.fspath(address)
  scheme, colon, rest = text.partition(':')
  if scheme in _REDIS:
    # Only who asks for Redis needs its client.
    from limaml_jax.store.redis_store import backend as redis_backend

    return redis_backend.RedisBackend(text)
  is_path = not colon or '/' in scheme or os.sep in scheme
  if not is_path and scheme != _LMDB:
    shown = urllib.parse.urlsplit(text).scheme
    raise errors.InputError(f'--store={shown}:...: expected {EXPECTED}')
  path = text if is_path else rest
  if not path:
    raise errors.InputError(f'--store={text}: no path; expected {EXPECTED}')
  from limaml_jax.store.lmdb_store import backend as lmdb_backend

  return lmdb_backend.LmdbBackend(path)
