"""Snapshot: meta embeddings of all entities, written once, then published.

Whatever the back end, a version appears whole or not at all, and so does a
change of the published one: whenever a writer dies, no reader sees anything
half-written.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np

from limaml_jax import errors
from limaml_jax.store import backend as backend_lib
from limaml_jax.store import checksum
from limaml_jax.store import manifest as manifest_lib
from limaml_jax.store import record as record_lib


def write(
    store: backend_lib.Backend,
    entity_type: str,
    chunks: Iterable[record_lib.Chunk],
    *,
    default_embedding: np.ndarray,
    fingerprint: str,
    cutoff: int,
    created: int,
    dtype: str = 'float32',
    generator: Mapping[str, Any] | None = None,
    base: str | None = None,
    without: Collection[str] = (),
    finite: bool = True,
) -> manifest_lib.Manifest:
  """Writes a new version chunk by chunk, without publishing it.

  Fastest, and smallest on disk, in ascending order of keys.

  Args:
    store: that receives it.
    entity_type: whose embeddings, e.g. 'user'.
    chunks: entities in any order, each in one chunk only; may be none.
    default_embedding: served to an entity without a vector, [E].
    fingerprint: of the model that made the embeddings.
    cutoff: the embeddings have seen no event after it, UTC seconds.
    created: UTC seconds.
    dtype: to store vectors in, one of `vector_dtypes.DTYPES`.
    generator: whatever the manifest should say of what made them.
    base: version whose records are carried over, where no chunk replaces
      them; of the same model, dimension and dtype.
    without: entities of the base that are not.
    finite: refuses a vector that is not.

  Returns:
    The manifest, which names the new version.

  Raises:
    InputError: if an argument is wrong, the base is another model's, or
      another process is writing. No version exists then that did not before.
  """
  default = np.array(default_embedding, np.float32, ndmin=1)
  # Made first, so that a wrong argument is not found after hours of writing.
  draft = manifest_lib.Manifest(
      version='00000000',
      entity_type=entity_type,
      fingerprint=fingerprint,
      dimension=default.size,
      dtype=dtype,
      count=0,
      cutoff=cutoff,
      watermark=-1,
      created=created,
      default_embedding=tuple(default.tolist()),
      generator=dict(generator or {}),
      checksum='0' * 64,
      data_checksum='',
  )
  watermark = -1
  if base is not None:
    watermark = _check_base(store.manifest(entity_type, base), draft)
  seen = set()
  with store.new_snapshot(entity_type, base) as writer:
    for chunk in chunks:
      for keys, records in record_lib.pack(
          chunk,
          dimension=default.size,
          dtype=dtype,
          cutoff=cutoff,
          finite=finite,
      ):
        if base is not None:
          _refuse_repeated(keys, seen)
        writer.put(keys, records)
        watermark = max(watermark, int(records['watermark'].max()))
    if without:
      writer.remove(record_lib.encode_keys(list(without)))
    return writer.finish(
        lambda written: dataclasses.replace(
            draft, watermark=watermark, **written._asdict()
        )
    )


def write_arrays(
    store: backend_lib.Backend,
    entity_type: str,
    *,
    keys: Sequence[str],
    vectors: np.ndarray,
    watermarks: np.ndarray,
    **facts: Any,
) -> manifest_lib.Manifest:
  """Writes a new version from whole arrays, without publishing it.

  Args:
    store: that receives it.
    entity_type: whose embeddings, e.g. 'user'.
    keys: of the entities in any order, N of them; may be none.
    vectors: [N, E].
    watermarks: [N], see `record.Chunk`.
    **facts: as `write`.

  Returns:
    The manifest, which names the new version.
  """
  chunk = record_lib.Chunk(keys, vectors, watermarks)
  return write(store, entity_type, [chunk], **facts)


def verify(
    store: backend_lib.Backend, entity_type: str, version: str
) -> manifest_lib.Manifest:
  """Recomputes the checksums of a snapshot.

  Returns:
    Its manifest.

  Raises:
    InputError: if the snapshot is absent or not what was written.
  """
  with store.open_snapshot(entity_type, version) as opened:
    found = checksum.of_blocks(opened.scan())
    check(store, opened.manifest, found)
    return opened.manifest


def check(
    store: backend_lib.Backend,
    manifest: manifest_lib.Manifest,
    found: str,
) -> None:
  """Refuses records that are not those that were written.

  Args:
    store: that holds them.
    manifest: of their snapshot.
    found: their checksum.

  Raises:
    InputError: if the checksum is not the manifest's.
  """
  if found != manifest.checksum:
    raise errors.InputError(
        f'{store.address}: {manifest.entity_type} {manifest.version}: corrupt'
        " (its checksum is not the manifest's); roll back to another version,"
        ' or write the snapshot again'
    )


def publish(
    store: backend_lib.Backend, entity_type: str, version: str
) -> manifest_lib.Manifest:
  """Verifies a version and makes it the one that every next lookup reads.

  Args:
    store: that holds it.
    entity_type: whose embeddings, e.g. 'user'.
    version: to publish, older or newer than the current one.

  Returns:
    Its manifest.

  Raises:
    InputError: if the version is absent or not what was written; the current
      one stays.
  """
  manifest = verify(store, entity_type, version)
  store.publish(entity_type, version)
  return manifest


def rollback(store: backend_lib.Backend, entity_type: str) -> str:
  """Publishes the version before the current one among those once published.

  The one left is forgotten by a later rollback, which does not return to it.

  Returns:
    The version that is current now.

  Raises:
    InputError: if there is none to go back to.
  """
  current = store.current(entity_type)
  earlier = [
      version
      for version in store.published(entity_type)
      if int(version) < int(current)
  ]
  if not earlier:
    raise errors.InputError(
        f'{store.address}: {entity_type}: nothing was published before version'
        f' {current}; publish another version by its number'
    )
  verify(store, entity_type, earlier[-1])
  store.publish(entity_type, earlier[-1], leave=current)
  return earlier[-1]


def prune(
    store: backend_lib.Backend, entity_type: str, *, keep: int
) -> list[str]:
  """Deletes all but the newest versions that were published, and others.

  Those that never were published count apart, so that they push out nothing
  that a rollback may need. Readers in the middle of a request keep what they
  read.

  Args:
    store: that holds them.
    entity_type: whose.
    keep: versions of each kind that stay, 1 or more; the published one always
      does.

  Returns:
    The versions that were deleted.

  Raises:
    InputError: if `keep` is below 1.
  """
  if keep < 1:
    raise errors.InputError(f'--keep={keep}: set 1 or more')
  published = store.published(entity_type)
  others = [v for v in store.versions(entity_type) if v not in published]
  current = store.current(entity_type) if published else ''
  former = [version for version in published if version != current]
  num_former = max(len(former) - (keep - 1), 0)
  doomed = sorted([*former[:num_former], *others[:-keep]], key=int)
  for version in doomed:
    store.delete(entity_type, version)
  return doomed


def _check_base(
    base: manifest_lib.Manifest, draft: manifest_lib.Manifest
) -> int:
  """Returns the base's watermark, if its records can be carried over."""
  for name in ('fingerprint', 'dimension', 'dtype'):
    if getattr(base, name) != getattr(draft, name):
      raise errors.InputError(
          f'snapshot {base.version}: its {name} is {getattr(base, name)}, not'
          f' {getattr(draft, name)}; write all entities anew'
      )
  return base.watermark


def _refuse_repeated(keys: list[bytes], seen: set[bytes]) -> None:
  number = len(seen) + len(keys)
  seen.update(keys)
  if len(seen) != number:
    raise errors.InputError(
        'an entity comes twice among those that replace others; pass each once'
    )
