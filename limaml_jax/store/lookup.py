"""Lookup: what the online path asks the store, many entities at a time."""

from collections.abc import Sequence
import enum
import os
import time
from typing import NamedTuple

import numpy as np

from limaml_jax.store import address
from limaml_jax.store import backend as backend_lib
from limaml_jax.store import vector_dtypes


class Status(enum.IntEnum):
  """How an entity's vector came about; none of them is an error."""

  PRESENT = 0
  STALE = 1  # Older than the reader's limit; still the entity's own vector.
  MISSING = 2  # A cold-start entity: the default embedding.
  VERSION_MISMATCH = 3  # Made by another model: the default embedding.
  UNAVAILABLE = 4  # The store did not answer: the default embedding.


_STALE, _MISSING = int(Status.STALE), int(Status.MISSING)


class Lookup(NamedTuple):
  """Answer for n entities, all of it from one snapshot.

  Attributes:
    vectors: meta embeddings, float32 [n, E].
    statuses: `Status` of each, uint8 [n].
    ages: seconds since each one's watermark, int64 [n]; since the snapshot's
      cutoff for one that has seen no event; -1 where the default embedding
      stands in.
    version: of the snapshot.
    fingerprint: of the model that made it.
    cutoff: of the snapshot, UTC seconds; 0 where it is not known.
  """

  vectors: np.ndarray
  statuses: np.ndarray
  ages: np.ndarray
  version: str
  fingerprint: str
  cutoff: int


class Reader:
  """Reads the published snapshot of one entity type; threads may share it."""

  def __init__(
      self,
      store: backend_lib.Backend | str | os.PathLike[str],
      entity_type: str,
      *,
      fingerprint: str | None = None,
      max_age_seconds: int = 0,
  ):
    """Opens the published snapshot.

    Args:
      store: the back end, or its address.
      entity_type: whose embeddings, e.g. 'user'.
      fingerprint: of the model that will use them; None takes any.
      max_age_seconds: beyond which a vector is STALE; 0 never.

    Raises:
      InputError: if no snapshot is published, or it is corrupt.
    """
    if isinstance(store, str | os.PathLike):
      store = address.open_backend(store)
    self._fingerprint = fingerprint
    self._max_age_seconds = max_age_seconds
    self._follower = store.follow(entity_type)

  def __enter__(self) -> 'Reader':
    return self

  def __exit__(self, *exception: object) -> None:
    self.close()

  def close(self) -> None:
    """Lets go of the snapshot."""
    self._follower.close()

  def lookup(self, keys: Sequence[str], *, now: int | None = None) -> Lookup:
    """Looks n entities up in the snapshot that is published at this moment.

    Args:
      keys: of the entities; unknown and repeated ones are welcome.
      now: UTC seconds that ages count to; None asks the clock.

    Returns:
      Vectors, statuses and ages in the order of `keys`.

    Raises:
      InputError: if a snapshot published meanwhile is corrupt.
    """
    now = int(time.time()) if now is None else now
    found = self._follower.read(keys)
    manifest = found.manifest
    if self._fingerprint not in (None, manifest.fingerprint):
      return _mismatch(found)
    vectors = vector_dtypes.decode(found.records, manifest.dtype)
    watermarks = found.records['watermark']
    ages = now - watermarks
    unseen = np.flatnonzero(watermarks < 0)
    if unseen.size:
      ages[unseen] = now - manifest.cutoff
    np.maximum(ages, 0, out=ages)  # Clocks of two machines differ.
    statuses = np.zeros(len(keys), np.uint8)  # PRESENT.
    if self._max_age_seconds:
      statuses[ages > self._max_age_seconds] = _STALE
    missing = np.flatnonzero(~found.present)
    if missing.size:
      vectors[missing] = found.default
      statuses[missing] = _MISSING
      ages[missing] = -1
    return Lookup(
        vectors,
        statuses,
        ages,
        manifest.version,
        manifest.fingerprint,
        manifest.cutoff,
    )

  def keys(self, prefix: str, *, limit: int) -> list[str]:
    """Returns the first keys, ascending, that begin with `prefix`.

    None at all where the back end keeps them in no order.

    Raises:
      InputError: if a snapshot published meanwhile is corrupt.
    """
    return self._follower.keys(prefix, limit)


def _mismatch(found: backend_lib.Found) -> Lookup:
  num_keys = len(found.present)
  return Lookup(
      vectors=np.tile(found.default, (num_keys, 1)),
      statuses=np.full(num_keys, Status.VERSION_MISMATCH, np.uint8),
      ages=np.full(num_keys, -1, np.int64),
      version=found.manifest.version,
      fingerprint=found.manifest.fingerprint,
      cutoff=found.manifest.cutoff,
  )
