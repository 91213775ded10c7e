"""Reading: opens a version of a bundle, once all of it is found whole."""

import logging
import pathlib
import time
from typing import NamedTuple
import zipfile

import jax
from jax import export as jax_export
import numpy as np

from limaml_jax import errors
from limaml_jax.bundle import columns as columns_lib
from limaml_jax.bundle import directory
from limaml_jax.bundle import key_table
from limaml_jax.bundle import manifest as manifest_lib

_LOGGER = logging.getLogger(__name__)
# The type of a vocabulary's record: the row of a token.
TOKEN_ROW = np.dtype([('row', '<i4')])


class Bundle(NamedTuple):
  """One version, open.

  Attributes:
    manifest: of the version.
    columns: of the features that it reads.
    program: (weights, embeddings [n, E], entity of each row [c], ids [c, ...],
      numbers [c, ...]) -> scores [c].
    weights: arrays by name.
    default: the default embedding, float32 [E].
    items: what is known of items; None if nothing is.
    entities: what is known of entities; None if nothing is.
    vocabularies: rows of tokens, by feature.
  """

  manifest: manifest_lib.Manifest
  columns: columns_lib.Columns
  program: jax_export.Exported
  weights: dict[str, np.ndarray]
  default: np.ndarray
  items: key_table.KeyTable | None
  entities: key_table.KeyTable | None
  vocabularies: dict[str, key_table.KeyTable]


def open_bundle(
    root: str | pathlib.Path, version: str | None = None
) -> Bundle:
  """Opens a version of the bundle in a folder.

  Args:
    root: of the bundle.
    version: the one exported last when left out.

  Raises:
    InputError: if a file is missing or not what was written, or this jax
      cannot run it; says how to mend it.
  """
  root = pathlib.Path(root)
  version = directory.current(root) if version is None else version
  path = directory.version_path(root, version)
  manifest = directory.read_manifest(root, version)
  _check_files(path, manifest)
  _check_jax(path, manifest)
  columns = columns_lib.Columns(manifest.features)
  unknown_token = np.zeros((), TOKEN_ROW)
  named = {
      directory.vocabulary(i): spec for i, spec in enumerate(manifest.features)
  }
  return Bundle(
      manifest=manifest,
      columns=columns,
      program=_read_program(path, manifest),
      weights=_read_weights(path),
      default=np.asarray(manifest.default_embedding, np.float32),
      items=_open_owned(path, manifest, columns, directory.ITEMS, 'item'),
      entities=_open_owned(
          path, manifest, columns, directory.ENTITIES, 'entity'
      ),
      vocabularies={
          spec.name: _open_table(path, manifest, name, unknown_token)
          for name, spec in named.items()
          if name in manifest.tables
      },
  )


def _check_files(path: pathlib.Path, manifest: manifest_lib.Manifest) -> None:
  try:
    found = directory.checksums(path)
  except OSError as error:
    raise errors.InputError(
        f'{error.filename}: unreadable ({error.strerror}); make it readable to'
        ' this user, or export again'
    ) from error
  for name, checksum in manifest.checksums.items():
    if name not in found:
      raise errors.InputError(f'{path / name}: is missing; export again')
    if found[name] != checksum:
      raise errors.InputError(
          f"{path / name}: corrupt (its checksum is not the manifest's);"
          ' export again'
      )


def _check_jax(path: pathlib.Path, manifest: manifest_lib.Manifest) -> None:
  here, there = _release(jax.__version__), _release(manifest.jax_version)
  if here < there:
    raise errors.InputError(
        f'{path}: exported by jax {manifest.jax_version}, which the older jax'
        f' {jax.__version__} here cannot read; install jax >='
        f' {manifest.jax_version}, or export with jax {jax.__version__}'
    )
  expired = time.time() > manifest.expires
  if expired and here != there:
    raise errors.InputError(
        f'{path}: expired: exported by jax {manifest.jax_version} at'
        f' {manifest.created}, longer ago than jax {jax.__version__} promises'
        ' to read; run `python -m experiments.export` on the same workdir'
    )
  if expired:
    _LOGGER.warning(
        '%s: expired, and read only because jax is still %s; export again'
        ' before you upgrade it',
        path,
        jax.__version__,
    )


def _release(version: str) -> tuple[int, ...]:
  return tuple(int(part) for part in version.split('.') if part.isdigit())


def _read_program(
    path: pathlib.Path, manifest: manifest_lib.Manifest
) -> jax_export.Exported:
  file = path / directory.PROGRAM
  try:
    program = jax_export.deserialize(bytearray(file.read_bytes()))
  except Exception as error:  # pylint: disable=broad-except
    # Whatever jax raises on bytes that it does not know.
    raise errors.InputError(
        f'{file}: jax {jax.__version__} cannot read what jax'
        f' {manifest.jax_version} exported ({error}); export again'
    ) from error
  platform = jax_export.default_export_platform()  # 'cuda', and not 'gpu'.
  if platform not in program.platforms:
    raise errors.InputError(
        f'{file}: exported for {", ".join(program.platforms)}, not for'
        f' {platform}; set JAX_PLATFORMS={program.platforms[0]}'
    )
  return program


def _read_weights(path: pathlib.Path) -> dict[str, np.ndarray]:
  file = path / directory.WEIGHTS
  try:
    with np.load(file, allow_pickle=False) as arrays:
      return {name: arrays[name] for name in arrays.files}
  except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
    raise errors.InputError(f'{file}: {error}; export again') from error


def _open_owned(path, manifest, columns, name, owner):
  """Opens what is known of items or entities, if anything is."""
  if name not in manifest.tables:
    return None
  unknown = columns.pack(owner, {}, 1)[0]
  return _open_table(path, manifest, name, unknown)


def _open_table(path, manifest, name, unknown):
  return key_table.open_table(
      path / name,
      manifest.tables[name],
      unknown.dtype,
      unknown,
      checksum=manifest.checksums.get(key_table.file_name(name), ''),
  )
