"""Changes: which rows in Feast differ from those of a snapshot."""

from collections.abc import Iterator
from collections.abc import Sequence
import heapq
import itertools
import operator
import struct
from typing import NamedTuple

from limaml_jax.store import backend as backend_lib
from limaml_jax.store import manifest as manifest_lib
from limaml_jax.store import record as record_lib

_WATERMARK = struct.Struct('<q')  # A record begins with it.


class Entity(NamedTuple):
  """One entity of the snapshot, or of a former one.

  Attributes:
    key: of the entity.
    record: in the snapshot; None if it is gone.
    is_written: whether Feast's row is this one already.
  """

  key: bytes
  record: bytes | None
  is_written: bool


def find(
    target: backend_lib.Snapshot,
    formers: Sequence[backend_lib.Snapshot | None],
) -> Iterator[Entity]:
  """Yields all entities of the target and of the former snapshots, ascending.

  Args:
    target: that Feast shall hold.
    formers: each row in Feast is as one of these says, at least one; None
      knows no entity.
  """
  scans = [
      _scan(number, snapshot)
      for number, snapshot in enumerate([target, *formers])
      if snapshot is not None
  ]
  groups = itertools.groupby(heapq.merge(*scans), key=operator.itemgetter(0))
  for key, group in groups:
    rows = {number: row for _, number, row in group}
    wanted = rows.get(0)
    is_written = all(
        rows.get(number + 1) == wanted for number in range(len(formers))
    )
    yield Entity(key, None if wanted is None else wanted[0], is_written)


def event_timestamp(record: bytes, manifest: manifest_lib.Manifest) -> int:
  """Returns the watermark; for an entity without events, the cutoff."""
  (watermark,) = _WATERMARK.unpack_from(record)
  return manifest.cutoff if watermark < 0 else watermark


def _scan(
    number: int, snapshot: backend_lib.Snapshot
) -> Iterator[tuple[bytes, int, tuple]]:
  """Yields key, number of the snapshot, and all that a row depends on."""
  manifest = snapshot.manifest
  made_by = manifest.fingerprint, manifest.dtype
  size = record_lib.layout(manifest.dimension, manifest.dtype).itemsize
  for keys, records in snapshot.scan():
    for i, key in enumerate(keys):
      record = records[i * size : (i + 1) * size]
      time = event_timestamp(record, manifest)
      yield key, number, (record, time, made_by)
