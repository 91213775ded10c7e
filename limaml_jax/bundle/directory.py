"""Directory: where the versions of a bundle lie, and which one is current.

  DIR/settings.json                 of the server; yours to edit
  DIR/model-settings.json           of the model: its store, its limits; yours
  DIR/CURRENT                       the version exported last
  DIR/versions/<version>/           never changed once it has this name:
    manifest.json                   what it is, and the checksums of the rest
    score.jaxexport                 the global block, as a program
    weights.npz                     its parameters
    items/, entities/               what is known of each, by key
    vocabularies/<position>/        rows of tokens of the feature that the
                                    manifest names there, e.g. 0000 the first

A version is a zero-padded ascending integer, e.g. '00000003'.
"""

from collections.abc import Iterator
import contextlib
import hashlib
import os
import pathlib
import re
import shutil

from limaml_jax import errors
from limaml_jax.bundle import manifest as manifest_lib
from limaml_jax.store import durable

MANIFEST = 'manifest.json'
PROGRAM = 'score.jaxexport'
WEIGHTS = 'weights.npz'
ITEMS = 'items'
ENTITIES = 'entities'

_VERSIONS = 'versions'
_VOCABULARIES = 'vocabularies'
_VERSION_PATTERN = re.compile(r'[0-9]{8,}')


def version_path(root: pathlib.Path, version: str) -> pathlib.Path:
  """Returns the folder of a version."""
  return root / _VERSIONS / version


def vocabulary(position: int) -> str:
  """Returns the name of the table of a feature's tokens.

  A feature may be called whatever a log calls it, which no file may be.

  Args:
    position: of the feature, in the manifest.
  """
  return f'{_VOCABULARIES}/{position:04d}'


def pointer_path(root: pathlib.Path) -> pathlib.Path:
  """Returns DIR/CURRENT, which may not exist."""
  return root / 'CURRENT'


def versions(root: pathlib.Path) -> list[str]:
  """Returns all whole versions, ascending."""
  folder = root / _VERSIONS
  names = os.listdir(folder) if folder.is_dir() else []
  return sorted(filter(_VERSION_PATTERN.fullmatch, names), key=int)


def current(root: pathlib.Path) -> str:
  """Returns the version exported last.

  Raises:
    InputError: if there is none.
  """
  path = pointer_path(root)
  try:
    version = path.read_text(encoding='utf-8').strip()
  except (OSError, UnicodeDecodeError) as error:
    raise errors.InputError(
        f'{path}: no bundle is here ({error}); make one with'
        ' `python -m experiments.export`'
    ) from error
  if not _VERSION_PATTERN.fullmatch(version):
    raise errors.InputError(
        f'{path}: holds {version[:40]!r}, not a version; export again'
    )
  return version


@contextlib.contextmanager
def new_version(root: pathlib.Path) -> Iterator[tuple[pathlib.Path, str]]:
  """Makes a folder that becomes the next version, whole, or is gone.

  Yields:
    The folder to fill, and the version that it will be.

  Raises:
    InputError: if another process exports here, or the disk refuses.
  """
  folder = root / _VERSIONS
  with durable.explained(root):
    folder.mkdir(parents=True, exist_ok=True)
    with durable.sole_writer(root, 'another process exports here'):
      path = folder / '.unfinished'
      shutil.rmtree(path, ignore_errors=True)
      path.mkdir()
      version = f'{int((versions(root) or ["0"])[-1]) + 1:08d}'
      try:
        yield path, version
        for inside in (*path.rglob('*'), path):
          durable.sync(inside)
        path.rename(folder / version)
        try:
          durable.sync(folder)
          durable.swap_pointer(pointer_path(root), version)
        except BaseException:
          durable.delete(folder / version)
          raise
      finally:
        shutil.rmtree(path, ignore_errors=True)


def prune(root: pathlib.Path, keep: int) -> list[str]:
  """Deletes old versions; returns those that it deleted.

  The newest ones stay, and the newest of each of the models exported last: the
  snapshot that is published may be of another model than the newest versions.
  The current one stays, however old. A server that has one open keeps it.

  Args:
    root: of the bundle.
    keep: how many versions, and how many models.
  """
  found = versions(root)
  kept = {current(root), *found[-keep:], *_newest_of_models(root, keep)}
  doomed = [version for version in found if version not in kept]
  for version in doomed:
    durable.delete(version_path(root, version))
  return doomed


def _newest_of_models(root: pathlib.Path, num_models: int) -> list[str]:
  """Returns the newest version of each of the models exported last."""
  newest: dict[str, str] = {}
  for version in reversed(versions(root)):
    try:
      fingerprint = read_manifest(root, version).fingerprint
    except errors.InputError:
      continue  # Cannot be served.
    newest.setdefault(fingerprint, version)
    if len(newest) == num_models:
      break
  return list(newest.values())


def read_manifest(
    root: pathlib.Path, version: str
) -> manifest_lib.Manifest:
  """Reads the manifest of a version.

  Raises:
    InputError: if it is absent, torn, or that of another version.
  """
  path = version_path(root, version) / MANIFEST
  try:
    text = path.read_text(encoding='utf-8')
  except (OSError, UnicodeDecodeError) as error:
    raise errors.InputError(
        f'{path}: unreadable ({error}); export again'
    ) from error
  manifest = manifest_lib.from_json(text, str(path))
  if manifest.version != version:
    raise errors.InputError(
        f"{path}: field 'version' is {manifest.version!r}, its place says"
        f' {version!r}; export again'
    )
  return manifest


def checksums(path: pathlib.Path) -> dict[str, str]:
  """Returns the SHA-256 of each file of a version but the manifest."""
  found = {}
  for file in sorted(path.rglob('*')):
    if file.is_file() and file.name != MANIFEST:
      with open(file, 'rb') as opened:
        digest = hashlib.file_digest(opened, 'sha256').hexdigest()
      found[str(file.relative_to(path))] = digest
  return found
