"""Catalog: which versions an entity type has, and which one is published."""

import hashlib
from typing import NamedTuple

from limaml_jax import errors
from limaml_jax.store import manifest as manifest_lib
from limaml_jax.store.redis_store import connection as connection_lib
from limaml_jax.store.redis_store import keys as keys_lib


class Current(NamedTuple):
  """What `current` holds.

  Attributes:
    version: the published one.
    digest: SHA-1 of its manifest.
  """

  version: str
  digest: str


def read_current(
    connection: connection_lib.Connection, keys: keys_lib.Keys
) -> Current:
  """Returns what is published.

  Raises:
    InputError: if nothing is.
  """
  value = connection.command('GET', keys.current)
  return parse_current(connection, keys, value)


def parse_current(
    connection: connection_lib.Connection,
    keys: keys_lib.Keys,
    value: bytes | None,
) -> Current:
  """Returns what the value of `current` says.

  Raises:
    InputError: if there is none, or it is torn.
  """
  place = f'{connection.place.address}: {keys.current}'
  if value is None:
    raise errors.InputError(
        f'{place}: no snapshot is published; run `python -m'
        ' experiments.refresh`, which writes and publishes one'
    )
  version, _, digest = value.decode(errors='replace').partition(' ')
  if not manifest_lib.VERSION_PATTERN.fullmatch(version):
    raise errors.InputError(
        f'{place}: holds {version[:40]!r}, not a version; publish one again'
    )
  return Current(version, digest)


def read_published(
    connection: connection_lib.Connection,
    keys: keys_lib.Keys,
    current: Current,
) -> manifest_lib.Manifest:
  """Returns the manifest that was published.

  Raises:
    InputError: if it is absent, torn, or another one now.
  """
  manifest, digest = _read_manifest(connection, keys, current.version)
  if digest != current.digest:
    raise errors.InputError(
        f'{connection.place.address}: {keys.manifests} {current.version}: not'
        ' the manifest that was published; publish it again'
    )
  return manifest


def read_manifest(
    connection: connection_lib.Connection, keys: keys_lib.Keys, version: str
) -> manifest_lib.Manifest:
  """Returns the manifest of a version.

  Raises:
    InputError: if there is no such version, or its manifest is torn.
  """
  return _read_manifest(connection, keys, version)[0]


def _read_manifest(connection, keys, version):
  place = f'{connection.place.address}: {keys.manifests}'
  text = connection.command('HGET', keys.manifests, version)
  if text is None:
    raise errors.InputError(
        f'{place}: no version {version!r}; choose one that lies there'
    )
  place = f'{place} {version}'
  manifest = manifest_lib.check_place(
      manifest_lib.from_json(text.decode(errors='replace'), place),
      entity_type=keys.entity_type,
      version=version,
      place=place,
  )
  return manifest, hashlib.sha1(text, usedforsecurity=False).hexdigest()
