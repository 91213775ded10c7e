"""Verification: whether a snapshot still is what was written."""

import hashlib
import os
import pathlib

from limaml_jax.store import database
from limaml_jax.store import directory
from limaml_jax.store import environment
from limaml_jax.store import manifest as manifest_lib


def file_checksum(path: pathlib.Path) -> str:
  """Returns the SHA-256 of a file."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def verify(
    root: str | os.PathLike[str], entity_type: str, version: str
) -> manifest_lib.Manifest:
  """Recomputes the checksums of a snapshot.

  Args:
    root: of the store.
    entity_type: whose snapshot, e.g. 'user'.
    version: of the snapshot.

  Returns:
    Its manifest.

  Raises:
    InputError: if the snapshot is absent or not what was written.
  """
  path = directory.snapshot_directory(root, entity_type, version)
  manifest = manifest_lib.read(path / 'manifest.json')
  # Before LMDB walks the pages: a blanked one makes it abort the process.
  try:
    found = {'data_checksum': file_checksum(database.file_path(path))}
  except OSError as error:
    raise database.corrupt(path, str(error)) from error
  if found['data_checksum'] == manifest.data_checksum:
    opened = environment.acquire(path)
    try:
      found['checksum'] = database.checksum(opened.database)
    finally:
      environment.release(opened)
  for name, value in found.items():
    if value != getattr(manifest, name):
      raise database.corrupt(path, f"its {name} is not the manifest's")
  return manifest
