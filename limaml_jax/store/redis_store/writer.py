"""Writer: sends a snapshot to the server, which shows it to nobody yet.

What is sent goes in pipelines, each of which ends by counting itself on the
server. A server that comes back with an earlier state of its own has counted
less, and the snapshot is refused rather than finished with what is left.
"""

from collections.abc import Callable
from collections.abc import Iterable
import itertools
import uuid

import numpy as np

from limaml_jax import errors
from limaml_jax.store import backend as backend_lib
from limaml_jax.store import checksum as checksum_lib
from limaml_jax.store import manifest as manifest_lib
from limaml_jax.store import record as record_lib
from limaml_jax.store.redis_store import connection as connection_lib
from limaml_jax.store.redis_store import keys as keys_lib
from limaml_jax.store.redis_store import records as records_lib
from limaml_jax.store.redis_store import scripts

_FIELDS_PER_COMMAND = 1000
_FIELDS_PER_PIPELINE = 8000
_LIFETIME_SECONDS = 86400  # Of what a killed writer leaves.
_ATTEMPTS = 100  # At a number that another writer does not take.


class RedisWriter:
  """See `backend.Writer`."""

  def __init__(
      self, connection: connection_lib.Connection, keys: keys_lib.Keys
  ):
    """Begins an empty snapshot under a random name."""
    self._connection = connection
    self._keys = keys
    self._token = uuid.uuid4().hex
    self._unfinished = keys.unfinished(self._token)
    self._may_replace = False
    self._last_key = b''
    self._count = 0
    self._num_steps = 0
    self._send([])

  def copy(self, base: manifest_lib.Manifest) -> None:
    """Begins with the records of a finished version."""
    key = self._keys.records(base.version)
    self._may_replace = True
    for batch in records_lib.batches(self._connection, key):
      self._send([_hset(self._unfinished, batch.items())])
    self._count = self._connection.command('HLEN', self._unfinished)
    if self._count != base.count:
      raise records_lib.incomplete(
          self._connection, key, found=self._count, count=base.count
      )

  def put(self, keys: list[bytes], records: np.ndarray) -> None:
    """As `backend.Writer`."""
    if not keys:
      return
    self._refuse_repeated(keys)
    size = records.itemsize
    rows = records.tobytes()
    values = [rows[i : i + size] for i in range(0, len(rows), size)]
    for part in _batched(zip(keys, values, strict=True), _FIELDS_PER_PIPELINE):
      self._send([
          _hset(self._unfinished, items)
          for items in _batched(part, _FIELDS_PER_COMMAND)
      ])
    self._last_key = max(self._last_key, keys[-1])

  def remove(self, keys: Iterable[bytes]) -> None:
    """As `backend.Writer`."""
    for part in _batched(dict.fromkeys(keys), _FIELDS_PER_COMMAND):
      self._count -= sum(self._are_there(part))
      self._send([('HDEL', self._unfinished, *part)])

  def finish(
      self, describe: Callable[[backend_lib.Written], manifest_lib.Manifest]
  ) -> manifest_lib.Manifest:
    """As `backend.Writer`; what the server has is what is described."""
    draft = describe(backend_lib.Written('00000000', 0, '0' * 64, ''))
    checksum = checksum_lib.of_blocks(
        records_lib.ascending(
            self._connection,
            self._unfinished,
            count=self._count,
            itemsize=record_lib.layout(draft.dimension, draft.dtype).itemsize,
        )
    )
    for _ in range(_ATTEMPTS):
      version = self._connection.call(self._next_version)
      manifest = describe(
          backend_lib.Written(version, self._count, checksum, '')
      )
      outcome = self._connection.call(self._finishing(manifest))
      if outcome == scripts.DONE:
        return manifest
      if outcome == scripts.LOST:
        raise self._lost()
    raise errors.InputError(
        f'{self._connection.place.address}: others take every version that is'
        ' next; write less often'
    )

  def abandon(self, connection: connection_lib.Connection) -> None:
    """Deletes what is unfinished, if it still is."""
    steps = self._keys.steps(self._token)
    connection.command('UNLINK', self._unfinished, steps)

  def _send(self, commands):
    """Sends commands that may come twice; counts them as one step."""
    self._num_steps += 1
    steps = self._keys.steps(self._token)

    def send(client):
      with client.pipeline(transaction=False) as pipeline:
        for command in commands:
          pipeline.execute_command(*command)
        pipeline.expire(self._unfinished, _LIFETIME_SECONDS)
        pipeline.getset(steps, self._num_steps)  # After what it counts.
        pipeline.expire(steps, _LIFETIME_SECONDS)
        return pipeline.execute()[-2]

    before = int(self._connection.call(send) or 0)
    if before not in (self._num_steps - 1, self._num_steps):
      raise self._lost()

  def _refuse_repeated(self, keys):
    """Refuses what comes twice, and counts what is new."""
    if len(set(keys)) != len(keys):
      repeated = next(a for a, b in itertools.pairwise(keys) if a == b)
      raise _twice(repeated)
    num_new = len(keys)
    if self._may_replace or keys[0] <= self._last_key:
      for part in _batched(keys, _FIELDS_PER_COMMAND):
        there = self._are_there(part)
        if any(there) and not self._may_replace:
          raise _twice(part[there.index(True)])
        num_new -= sum(there)
    self._count += num_new

  def _are_there(self, keys):
    found = self._connection.command('HMGET', self._unfinished, *keys)
    return [value is not None for value in found]

  def _next_version(self, client):
    with client.pipeline(transaction=False) as pipeline:
      pipeline.get(self._keys.latest)
      pipeline.hkeys(self._keys.manifests)
      latest, existing = pipeline.execute()
    return f'{max(map(int, (latest or 0, *existing))) + 1:08d}'

  def _finishing(self, manifest):
    return lambda client: scripts.finish(
        client,
        self._keys,
        self._token,
        version=manifest.version,
        manifest=manifest_lib.to_json(manifest),
        count=manifest.count,
        num_steps=self._num_steps,
    )

  def _lost(self):
    return errors.InputError(
        f'{self._connection.place.address}: {self._unfinished}: lost records'
        ' while it was written (restarted, emptied, or short of memory?); run'
        ' again; what is published stays'
    )


def _hset(key, items):
  return ('HSET', key, *itertools.chain.from_iterable(items))


def _batched(items, size):
  items = iter(items)
  while batch := list(itertools.islice(items, size)):
    yield batch


def _twice(key):
  return errors.InputError(
      f'entity {key.decode()!r}: comes twice; pass each entity once'
  )
