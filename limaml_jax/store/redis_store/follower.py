"""Follower: reads whichever snapshot is published, in one round trip."""

from collections.abc import Sequence
import itertools
from typing import Any
from typing import NamedTuple

import numpy as np
import redis

from limaml_jax import errors
from limaml_jax.store import backend as backend_lib
from limaml_jax.store import manifest as manifest_lib
from limaml_jax.store import record as record_lib
from limaml_jax.store.redis_store import catalog
from limaml_jax.store.redis_store import connection as connection_lib
from limaml_jax.store.redis_store import keys as keys_lib
from limaml_jax.store.redis_store import records as records_lib

_ABSENT = np.iinfo(np.int64).min  # A watermark that no record has.
# What goes before an argument of so many bytes.
_HEADS = [b'\r\n$%d\r\n' % n for n in range(record_lib.MAX_KEY_BYTES + 1)]
_ATTEMPTS = 10  # At reading what is published before another one is.


class _Held(NamedTuple):
  """A snapshot that was published when this was made."""

  stamp: bytes
  manifest: manifest_lib.Manifest
  default: np.ndarray
  layout: np.dtype
  records: str


def _pipelined(
    pool: redis.ConnectionPool, commands: Sequence[bytes]
) -> list[Any]:
  """Returns the answers to some commands; a tenth faster than `pipeline`."""
  connection = pool.get_connection()
  try:
    connection.send_packed_command([b''.join(commands)])
    return [connection.read_response() for _ in commands]
  except BaseException:
    connection.disconnect()  # Answers are left that belong to nobody.
    raise
  finally:
    pool.release(connection)


def _packed(name: str, key: str, fields: Sequence[bytes] = ()) -> bytes:
  """Returns a command as Redis reads it; redis-py takes thrice as long.

  Args:
    name: of the command.
    key: that it is about.
    fields: of that key, none longer than the key of an entity may be.
  """
  start = [b'*%d' % (2 + len(fields))]
  for argument in (name.encode(), key.encode()):
    start.append(b'\r\n$%d\r\n%b' % (len(argument), argument))
  heads = map(_HEADS.__getitem__, map(len, fields))
  pairs = itertools.chain.from_iterable(zip(heads, fields, strict=True))
  return b''.join([*start, *pairs, b'\r\n'])


class RedisFollower:
  """See `backend.Follower`."""

  def __init__(
      self, connection: connection_lib.Connection, keys: keys_lib.Keys
  ):
    """Takes the connection, which it closes in the end.

    Raises:
      InputError: if no snapshot is published, or it is not whole.
    """
    self._connection = connection
    self._keys = keys
    self._held: _Held | None = None
    self._closed = False
    self.read([])

  def read(self, keys: Sequence[str]) -> backend_lib.Found:
    """As `backend.Follower`."""
    encoded = record_lib.encode_keys(keys)
    held = self._held  # Another thread may replace it.
    incomplete = None
    for _ in range(_ATTEMPTS):
      if self._closed:
        raise ValueError('This reader is closed.')
      stamp, values, count = self._connection.call(
          lambda client, held=held: self._ask(client, held, encoded)
      )
      if held is None or stamp != held.stamp:
        held = self._held = self._open(stamp)
      elif count == held.manifest.count:
        return self._found(held, values)
      elif incomplete is held:
        raise records_lib.incomplete(
            self._connection,
            held.records,
            found=count,
            count=held.manifest.count,
        )
      else:
        incomplete = held  # Perhaps left and deleted since `stamp` was read.
    raise errors.InputError(
        f'{self._connection.place.address}: {self._keys.current}: names another'
        ' snapshot before one is read; publish less often'
    )

  def keys(self, prefix: str, limit: int) -> list[str]:
    """As `backend.Follower`: a hash is in no order."""
    del prefix, limit
    return []

  def close(self) -> None:
    """As `backend.Follower`."""
    self._closed = True
    self._held = None
    self._connection.close()

  def _ask(self, client, held, encoded):
    """Returns the stamp, the records of what is held, and their count.

    No transaction, which a server refuses that is out of memory. None is
    needed: records under one key are there all at once and never change, so
    if they are complete afterwards, they were when they were read.
    """
    if held is None:
      return client.get(self._keys.current), [], 0
    commands = [_packed('GET', self._keys.current)]
    if encoded:
      commands.append(_packed('HMGET', held.records, encoded))
    commands.append(_packed('HLEN', held.records))
    stamp, *values, count = _pipelined(client.connection_pool, commands)
    return stamp, values[0] if values else [], count

  def _open(self, stamp: bytes | None) -> _Held | None:
    """Returns what is held from now on; None if that is gone already."""
    current = catalog.parse_current(self._connection, self._keys, stamp)
    try:
      manifest = catalog.read_published(self._connection, self._keys, current)
    except errors.InputError:
      if catalog.read_current(self._connection, self._keys) == current:
        raise
      return None
    return _Held(
        stamp=stamp or b'',
        manifest=manifest,
        default=np.array(manifest.default_embedding, np.float32),
        layout=record_lib.layout(manifest.dimension, manifest.dtype),
        records=self._keys.records(current.version),
    )

  def _found(self, held, values):
    absent = np.zeros((), held.layout)
    absent['watermark'] = _ABSENT
    blank = absent.tobytes()
    joined = b''.join([blank if v is None else v for v in values])
    if len(joined) != len(values) * held.layout.itemsize:
      raise records_lib.wrong_size(self._connection, held.records)
    records = np.frombuffer(joined, held.layout)
    return backend_lib.Found(
        manifest=held.manifest,
        default=held.default,
        present=records['watermark'] != _ABSENT,
        records=records,
    )
