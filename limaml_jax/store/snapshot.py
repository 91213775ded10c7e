"""Snapshot: meta embeddings of all entities, written once, then published.

Writing ends with a rename and so does publishing: whenever a writer dies, no
reader sees a half-written snapshot.
"""

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import os

import numpy as np

from limaml_jax import errors
from limaml_jax.store import database
from limaml_jax.store import directory
from limaml_jax.store import manifest as manifest_lib
from limaml_jax.store import record as record_lib
from limaml_jax.store import verification


def write(
    root: str | os.PathLike[str],
    entity_type: str,
    *,
    keys: Sequence[str],
    vectors: np.ndarray,
    watermarks: np.ndarray,
    default_embedding: np.ndarray,
    fingerprint: str,
    cutoff: int,
    created: int,
    dtype: str = 'float32',
) -> manifest_lib.Manifest:
  """Writes a new version from whole arrays, without publishing it.

  Args:
    root: of the store.
    entity_type: whose embeddings, e.g. 'user'.
    keys: of the entities in any order, N of them; may be none.
    vectors: [N, E].
    watermarks: [N], see `record.Chunk`.
    default_embedding: served to an entity without a vector, [E].
    fingerprint: of the model that made the embeddings.
    cutoff: the embeddings have seen no event after it, UTC seconds.
    created: UTC seconds.
    dtype: to store vectors in, 'float32' or 'float16'.

  Returns:
    The manifest, which names the new version.

  Raises:
    InputError: as `write_chunks`.
  """
  return write_chunks(
      root,
      entity_type,
      [record_lib.Chunk(keys, vectors, watermarks)],
      default_embedding=default_embedding,
      fingerprint=fingerprint,
      cutoff=cutoff,
      created=created,
      dtype=dtype,
  )


def write_chunks(
    root: str | os.PathLike[str],
    entity_type: str,
    chunks: Iterable[record_lib.Chunk],
    *,
    default_embedding: np.ndarray,
    fingerprint: str,
    cutoff: int,
    created: int,
    dtype: str = 'float32',
) -> manifest_lib.Manifest:
  """Writes a new version chunk by chunk, without publishing it.

  Fastest, and smallest on disk, in ascending order of keys.

  Args:
    root: of the store.
    entity_type: whose embeddings, e.g. 'user'.
    chunks: entities in any order, each in one chunk only; may be none.
    default_embedding: served to an entity without a vector, [E].
    fingerprint: of the model that made the embeddings.
    cutoff: the embeddings have seen no event after it, UTC seconds.
    created: UTC seconds.
    dtype: to store vectors in, 'float32' or 'float16'.

  Returns:
    The manifest, which names the new version.

  Raises:
    InputError: if an argument is wrong, or another process is writing. No
      version exists then that did not before.
  """
  default = np.array(default_embedding, np.float32, ndmin=1)
  # Made first, so that a wrong argument is not found after hours of writing.
  manifest = manifest_lib.Manifest(
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
      checksum='0' * 64,
      data_checksum='0' * 64,
  )
  layout = record_lib.layout(default.size, dtype)
  with directory.new_snapshot(root, entity_type) as (path, version):
    count, watermark, checksum = database.write(
        path, chunks, layout=layout, cutoff=cutoff
    )
    manifest = dataclasses.replace(
        manifest,
        version=version,
        count=count,
        watermark=watermark,
        checksum=checksum,
        data_checksum=verification.file_checksum(database.file_path(path)),
    )
    text = manifest_lib.to_json(manifest)
    directory.write_text(path / 'manifest.json', text)
  return manifest


def publish(
    root: str | os.PathLike[str], entity_type: str, version: str
) -> manifest_lib.Manifest:
  """Verifies a version and makes it the one that every next lookup reads.

  Args:
    root: of the store.
    entity_type: whose embeddings, e.g. 'user'.
    version: to publish, older or newer than the current one.

  Returns:
    Its manifest.

  Raises:
    InputError: if the version is absent or not what was written; the current
      one stays.
  """
  manifest = verification.verify(root, entity_type, version)
  path = directory.snapshot_directory(root, entity_type, version)
  directory.write_text(path / directory.MARK, '')
  directory.sync(path)
  directory.swap_pointer(directory.pointer_path(root, entity_type), version)
  return manifest


def rollback(root: str | os.PathLike[str], entity_type: str) -> str:
  """Publishes the version before the current one among those once published.

  The one left loses its mark, so that a later rollback does not return to it.

  Args:
    root: of the store.
    entity_type: whose embeddings, e.g. 'user'.

  Returns:
    The version that is current now.

  Raises:
    InputError: if there is none to go back to.
  """
  pointer = directory.pointer_path(root, entity_type)
  file, current = directory.open_pointer(pointer)
  file.close()
  earlier = [
      version
      for version in versions(root, entity_type)
      if int(version) < int(current)
      and (pointer.parent / 'snapshots' / version / directory.MARK).exists()
  ]
  if not earlier:
    raise errors.InputError(
        f'{pointer}: nothing was published before version {current}; publish '
        'another version by its number'
    )
  publish(root, entity_type, earlier[-1])
  left = pointer.parent / 'snapshots' / current / directory.MARK
  left.unlink(missing_ok=True)
  return earlier[-1]


def versions(root: str | os.PathLike[str], entity_type: str) -> list[str]:
  """Returns all finished versions, published or not, in ascending order."""
  return directory.versions(root, entity_type)
