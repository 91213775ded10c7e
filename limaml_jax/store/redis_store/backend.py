"""Redis as a back end; see `backend.Backend`."""

from collections.abc import Iterator
import contextlib
import dataclasses

from limaml_jax import errors
from limaml_jax.store import checksum
from limaml_jax.store import manifest as manifest_lib
from limaml_jax.store import record as record_lib
from limaml_jax.store.redis_store import catalog
from limaml_jax.store.redis_store import connection as connection_lib
from limaml_jax.store.redis_store import follower
from limaml_jax.store.redis_store import keys as keys_lib
from limaml_jax.store.redis_store import place as place_lib
from limaml_jax.store.redis_store import records as records_lib
from limaml_jax.store.redis_store import scripts
from limaml_jax.store.redis_store import writer as writer_lib

_READER_TIMEOUT_SECONDS = 5.0
_WRITER_TIMEOUT_SECONDS = 30.0
_PATIENCE_SECONDS = 0.5  # Enough for a connection that was cut.
_WRITER_PATIENCE_SECONDS = 15.0  # Enough for a server that is restarted.


class RedisBackend:
  """Snapshots in the memory of a Redis, or of one node of its cluster."""

  def __init__(self, url: str):
    """Connects to nothing yet.

    Args:
      url: redis://, rediss:// or unix://, with redis-py's options and `prefix`.

    Raises:
      InputError: if it is no such URL.
    """
    self._place = place_lib.parse(url)
    self.address = self._place.address
    self._connection = connection_lib.Connection(
        self._place,
        timeout_seconds=_WRITER_TIMEOUT_SECONDS,
        patience_seconds=_PATIENCE_SECONDS,
    )

  def versions(self, entity_type: str) -> list[str]:
    """As `backend.Backend`."""
    return self._versions('HKEYS', self._keys(entity_type).manifests)

  def published(self, entity_type: str) -> list[str]:
    """As `backend.Backend`."""
    return self._versions('ZRANGE', self._keys(entity_type).published, 0, -1)

  def current(self, entity_type: str) -> str:
    """As `backend.Backend`."""
    keys = self._keys(entity_type)
    return catalog.read_current(self._connection, keys).version

  def manifest(
      self, entity_type: str, version: str
  ) -> manifest_lib.Manifest:
    """As `backend.Backend`."""
    keys = self._keys(entity_type)
    return catalog.read_manifest(self._connection, keys, version)

  @contextlib.contextmanager
  def new_snapshot(
      self, entity_type: str, base: str | None = None
  ) -> Iterator[writer_lib.RedisWriter]:
    """As `backend.Backend`; several may be written at once."""
    keys = self._keys(entity_type)
    self.versions(entity_type)  # A server that is not there is found at once.
    connection = connection_lib.Connection(
        self._place,
        timeout_seconds=_WRITER_TIMEOUT_SECONDS,
        patience_seconds=_WRITER_PATIENCE_SECONDS,
    )
    writer = writer_lib.RedisWriter(connection, keys)
    try:
      if base is not None:
        writer.copy(self.manifest(entity_type, base))
      yield writer
    finally:
      # If the server is gone, what is left there expires; no long wait.
      with contextlib.suppress(errors.InputError):
        writer.abandon(self._connection)
      connection.close()

  @contextlib.contextmanager
  def open_snapshot(
      self, entity_type: str, version: str
  ) -> Iterator['_Snapshot']:
    """As `backend.Backend`."""
    manifest = self.manifest(entity_type, version)
    key = self._keys(entity_type).records(version)
    found = self._connection.command('HLEN', key)
    if found != manifest.count:
      raise records_lib.incomplete(
          self._connection, key, found=found, count=manifest.count
      )
    yield _Snapshot(manifest, self._connection, key)

  def publish(
      self,
      entity_type: str,
      version: str,
      *,
      expected: str | None = None,
      leave: str | None = None,
  ) -> None:
    """As `backend.Backend`."""
    keys = self._keys(entity_type)
    count = self.manifest(entity_type, version).count
    outcome = self._connection.call(
        lambda client: scripts.publish(
            client,
            keys,
            version=version,
            count=count,
            leave=leave,
            expected=expected,
        )
    )
    if outcome != scripts.DONE:
      reason = {
          scripts.ABSENT: f'no version {version!r} any more',
          scripts.LOST: f'version {version} has lost records',
          scripts.LEFT: f'no longer names {leave or expected or "nothing"}',
      }[outcome]
      raise errors.InputError(
          f'{self.address}: {keys.current}: {reason}; look at `list` and try'
          ' again'
      )

  def delete(self, entity_type: str, version: str) -> None:
    """As `backend.Backend`."""
    keys = self._keys(entity_type)
    if version not in self.versions(entity_type):  # Its manifest may be torn.
      self.manifest(entity_type, version)
    outcome = self._connection.call(
        lambda client: scripts.delete(client, keys, version)
    )
    if outcome == scripts.PUBLISHED:
      raise errors.InputError(
          f'{self.address}: {keys.records(version)}: is the published snapshot;'
          ' publish another first'
      )

  def follow(self, entity_type: str) -> follower.RedisFollower:
    """As `backend.Backend`."""
    connection = connection_lib.Connection(
        self._place,
        timeout_seconds=_READER_TIMEOUT_SECONDS,
        patience_seconds=_PATIENCE_SECONDS,
    )
    return follower.RedisFollower(connection, self._keys(entity_type))

  def _versions(self, *command):
    found = self._connection.command(*command)
    names = [name.decode(errors='replace') for name in found]
    return sorted(
        filter(manifest_lib.VERSION_PATTERN.fullmatch, names), key=int
    )

  def _keys(self, entity_type):
    return keys_lib.Keys(self._place.prefix, entity_type)


@dataclasses.dataclass(eq=False)
class _Snapshot:
  """See `backend.Snapshot`."""

  manifest: manifest_lib.Manifest
  connection: connection_lib.Connection
  key: str

  def scan(self) -> Iterator[checksum.Block]:
    """As `backend.Snapshot`."""
    layout = record_lib.layout(self.manifest.dimension, self.manifest.dtype)
    return records_lib.ascending(
        self.connection,
        self.key,
        count=self.manifest.count,
        itemsize=layout.itemsize,
    )
