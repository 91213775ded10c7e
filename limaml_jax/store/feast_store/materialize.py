"""Materialize: copies the published snapshot into Feast's online store."""

from collections.abc import Callable
from collections.abc import Sequence
import contextlib
from typing import NamedTuple

import feast
import numpy as np

from limaml_jax import errors
from limaml_jax.store import backend as backend_lib
from limaml_jax.store import manifest as manifest_lib
from limaml_jax.store import record as record_lib
from limaml_jax.store import vector_dtypes
from limaml_jax.store.feast_store import changes
from limaml_jax.store.feast_store import marker as marker_lib
from limaml_jax.store.feast_store import online
from limaml_jax.store.feast_store import repo


class Materialized(NamedTuple):
  """What a run did.

  Attributes:
    version: that Feast holds now.
    num_written: entities whose row was written.
    num_unchanged: entities whose row was there already.
    num_cleared: entities whose row was made null.
    unknown_versions: that Feast held rows of and the store no longer has. Of
      their entities, those that are in no snapshot since keep their row.
  """

  version: str
  num_written: int
  num_unchanged: int
  num_cleared: int
  unknown_versions: tuple[str, ...]


def materialize(
    store: backend_lib.Backend,
    entity_type: str,
    feature_store: feast.FeatureStore,
    *,
    batch_size: int = 1000,
    full: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Materialized:
  """Makes Feast's rows those of the published snapshot.

  The event time of a row is the watermark of the entity, or the cutoff of the
  snapshot for an entity without events; it is created when the snapshot was.
  Only rows that change are written, so that a row's `snapshot_version` is that
  of the first snapshot it was the same in. Rows of entities that are gone
  become null, as Feast deletes none.

  Feast writes row by row: while a run is on, and after one that was killed, a
  reader sees rows of both snapshots, which is why each row says its own
  model and snapshot. The next run completes what was begun, whatever snapshot
  is published by then. Runs on the same view must not overlap.

  Args:
    store: that the snapshot is published in.
    entity_type: whose embeddings, e.g. 'user'.
    feature_store: of a repo to which `repo.definitions` were applied.
    batch_size: rows that Feast is given at once.
    full: writes rows that are there already, too; where Feast's database drops
      rows by itself.
    on_progress: called with the number of entities done, and of all.

  Raises:
    InputError: if nothing is published, the view does not fit, or either
      database fails.
  """
  if batch_size < 1:
    raise errors.InputError(f'--batch_size={batch_size}: set 1 or more')
  online.check_writable(feature_store)
  with contextlib.ExitStack() as stack:
    target = stack.enter_context(
        store.open_snapshot(entity_type, store.current(entity_type))
    )
    manifest = target.manifest
    view = repo.find_view(
        feature_store, entity_type, dimension=manifest.dimension
    )
    found = marker_lib.read(feature_store, view)
    done = marker_lib.of_snapshot(manifest)
    if found == done and not full:
      return Materialized(manifest.version, 0, manifest.count, 0, ())
    formers = {
        identity: _open(stack, store, entity_type, identity)
        for identity in (found.identities if found else (marker_lib.NOTHING,))
    }
    begun = _begun(found or done, list(formers), done)
    marker_lib.write(feature_store, view, begun, target=manifest)
    writer = _Writer(feature_store, view, manifest, batch_size)
    num_seen = num_unchanged = 0
    for entity in changes.find(target, list(formers.values())):
      if full or not entity.is_written:
        writer.put(entity.key, entity.record)
      else:
        num_unchanged += 1
      if entity.record is not None:
        num_seen += 1
        if on_progress and num_seen % batch_size == 0:
          on_progress(num_seen, manifest.count)
    writer.flush()
    marker_lib.write(feature_store, view, done, target=manifest)
  if on_progress:
    on_progress(num_seen, manifest.count)
  return Materialized(
      version=manifest.version,
      num_written=writer.num_written,
      num_unchanged=num_unchanged,
      num_cleared=writer.num_cleared,
      unknown_versions=tuple(
          marker_lib.version_of(identity)
          for identity, snapshot in formers.items()
          if identity != marker_lib.NOTHING and snapshot is None
      ),
  )


def _begun(
    found: marker_lib.Marker,
    formers: Sequence[str],
    done: marker_lib.Marker,
) -> marker_lib.Marker:
  """Returns the marker of a run that has begun, and is not done."""
  identities = dict.fromkeys((*formers, *done.identities))
  if len(identities) == 1:  # Only --full: it would look done.
    identities = {marker_lib.NOTHING: None, **identities}
  return found._replace(identities=tuple(identities))


def _open(
    stack: contextlib.ExitStack,
    store: backend_lib.Backend,
    entity_type: str,
    identity: str,
) -> backend_lib.Snapshot | None:
  """Opens a former snapshot, or returns None if the store has it no longer."""
  if identity == marker_lib.NOTHING:
    return None
  version = marker_lib.version_of(identity)
  try:
    snapshot = stack.enter_context(store.open_snapshot(entity_type, version))
  except errors.InputError:  # Pruned, or corrupt, or another store's.
    return None
  same = marker_lib.identity(snapshot.manifest) == identity
  return snapshot if same else None


class _Writer:
  """Collects rows, and gives them to Feast in batches."""

  def __init__(
      self,
      feature_store: feast.FeatureStore,
      view: feast.FeatureView,
      manifest: manifest_lib.Manifest,
      batch_size: int,
  ):
    self._feature_store = feature_store
    self._view = view
    self._manifest = manifest
    self._batch_size = batch_size
    self._records: dict[bytes, bytes] = {}
    self._gone: list[bytes] = []
    self.num_written = 0
    self.num_cleared = 0

  def put(self, key: bytes, record: bytes | None) -> None:
    if record is None:
      self._gone.append(key)
    else:
      self._records[key] = record
    if len(self._records) + len(self._gone) == self._batch_size:
      self.flush()

  def flush(self) -> None:
    rows = [*self._present_rows(), *self._null_rows()]
    if rows:
      online.write(
          self._feature_store,
          self._view,
          rows,
          created=self._manifest.created,
      )
    self.num_written += len(self._records)
    self.num_cleared += len(self._gone)
    self._records, self._gone = {}, []

  def _present_rows(self) -> list[online.Row]:
    manifest = self._manifest
    records = np.frombuffer(
        b''.join(self._records.values()),
        record_lib.layout(manifest.dimension, manifest.dtype),
    )
    vectors = vector_dtypes.decode(records, manifest.dtype).tolist()
    return [
        online.Row(
            key=key.decode(),
            vector=vector,
            fingerprint=manifest.fingerprint,
            version=manifest.version,
            event_timestamp=changes.event_timestamp(record, manifest),
        )
        for (key, record), vector in zip(
            self._records.items(), vectors, strict=True
        )
    ]

  def _null_rows(self) -> list[online.Row]:
    return [
        online.Row(
            key=key.decode(),
            vector=None,
            fingerprint='',
            version='',
            event_timestamp=self._manifest.cutoff,
        )
        for key in self._gone
    ]
