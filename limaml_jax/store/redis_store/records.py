"""Records: reads a whole hash of them, in the order that Redis has not."""

from collections.abc import Iterator

from limaml_jax import errors
from limaml_jax.store import checksum
from limaml_jax.store.redis_store import connection as connection_lib

_FIELDS_PER_SCAN = 2000  # About 1 ms of the server, which others wait for.


def batches(
    connection: connection_lib.Connection, key: str
) -> Iterator[dict[bytes, bytes]]:
  """Yields all of a hash, some of it perhaps twice."""
  cursor = 0
  while True:
    cursor, batch = connection.command(
        'HSCAN', key, cursor, 'COUNT', _FIELDS_PER_SCAN
    )
    if batch:
      yield batch
    if not cursor:
      return


def ascending(
    connection: connection_lib.Connection,
    key: str,
    *,
    count: int,
    itemsize: int,
) -> Iterator[checksum.Block]:
  """Yields keys and records of all entities, in ascending order of keys.

  Holds all of them in memory, records in one piece.

  Args:
    connection: to the server.
    key: of the hash.
    count: of entities that it should have.
    itemsize: bytes of a record.

  Raises:
    InputError: if it has not so many, or a record of another size.
  """
  entities = []
  values = bytearray()
  for batch in batches(connection, key):
    if set(map(len, batch.values())) != {itemsize}:
      raise wrong_size(connection, key)
    entities.extend(batch)
    values += b''.join(batch.values())
  order = sorted(range(len(entities)), key=entities.__getitem__)
  # A hash that was growing is scanned in part twice.
  order = [
      i
      for n, i in enumerate(order)
      if not n or entities[i] != entities[order[n - 1]]
  ]
  if len(order) != count:
    raise incomplete(connection, key, found=len(order), count=count)
  view = memoryview(bytes(values))
  size = checksum.ENTITIES_PER_BLOCK
  for start in range(0, len(order), size):
    block = order[start : start + size]
    records = [view[i * itemsize : (i + 1) * itemsize] for i in block]
    yield [entities[i] for i in block], b''.join(records)


def incomplete(
    connection: connection_lib.Connection, key: str, *, found: int, count: int
) -> errors.InputError:
  """Returns the error that a hash has lost entities."""
  return errors.InputError(
      f'{connection.place.address}: {key}: {found} of {count} records (evicted,'
      ' or deleted meanwhile?); write the snapshot again, set maxmemory-policy'
      ' noeviction'
  )


def wrong_size(
    connection: connection_lib.Connection, key: str
) -> errors.InputError:
  """Returns the error that a hash holds what cannot be a record."""
  return errors.InputError(
      f'{connection.place.address}: {key}: corrupt (a record has the wrong'
      ' size); roll back to another version, or write the snapshot again'
  )
