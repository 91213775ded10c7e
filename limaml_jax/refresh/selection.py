"""Selection: who has new events since the snapshot that is served.

An entity whose latest event is the same as then is carried over: its
embedding is a function of its events, its attributes and the model. If what
was known at that time has changed since, nobody is carried over.
"""

from typing import NamedTuple

import numpy as np

from limaml_jax import errors
from limaml_jax.refresh import past as past_lib
from limaml_jax.refresh import refresher as refresher_lib
from limaml_jax.store import contents as contents_lib
from limaml_jax.store import manifest as manifest_lib


class Base(NamedTuple):
  """The snapshot that a refresh follows.

  Attributes:
    previous: the published one, to be compared with; None if there is none.
    carried: the same, if entities without new events are carried over.
    why_full: why they are not; '' if they are.
  """

  previous: contents_lib.Contents | None
  carried: contents_lib.Contents | None
  why_full: str


def describe(
    refresher: refresher_lib.Refresher, past: past_lib.Past, cutoff: int
) -> dict[str, str]:
  """Returns what a manifest's generator says of a refresh to a cutoff."""
  return {
      'adaptation': refresher.adaptation,
      'past': past.digest(cutoff),
  }


def published(
    refresher: refresher_lib.Refresher,
) -> manifest_lib.Manifest | None:
  """Returns the manifest of the published snapshot, if there is one."""
  store, entity_type = refresher.store, refresher.info.entity_type
  if not store.published(entity_type):
    return None
  return store.manifest(entity_type, store.current(entity_type))


def is_same(
    manifest: manifest_lib.Manifest,
    refresher: refresher_lib.Refresher,
    past: past_lib.Past,
    cutoff: int,
) -> bool:
  """Says whether a refresh to this cutoff would make this very snapshot."""
  if (
      manifest.cutoff != cutoff
      or manifest.dtype != refresher.dtype
      or manifest.fingerprint != refresher.fingerprint
  ):
    return False
  expected = describe(refresher, past, cutoff)
  return {name: manifest.generator.get(name) for name in expected} == expected


def find_base(
    refresher: refresher_lib.Refresher,
    past: past_lib.Past,
    cutoff: int,
    *,
    full: bool,
) -> Base:
  """Reads the published snapshot, and says whether to carry over from it.

  Raises:
    InputError: if it is of a later cutoff, which takes `full`.
  """
  store, entity_type = refresher.store, refresher.info.entity_type
  manifest = published(refresher)
  if manifest is None:
    return Base(None, None, 'nothing is published yet')
  if manifest.cutoff > cutoff and not full:
    raise errors.InputError(
        f'{store.address}: the published snapshot {manifest.version} has seen'
        f' events until {manifest.cutoff}, after --cutoff ({cutoff}); refresh'
        ' to a later one, or pass --full to go back'
    )
  why = '--full' if full else _why_full(refresher, manifest)
  contents = contents_lib.load(store, entity_type, manifest.version)
  why = why or _why_changed(refresher, past, contents)
  return Base(contents, None if why else contents, why)


def _why_full(
    refresher: refresher_lib.Refresher, manifest: manifest_lib.Manifest
) -> str:
  if manifest.fingerprint != refresher.fingerprint:
    return f'snapshot {manifest.version} is of another model'
  if manifest.generator.get('adaptation') != refresher.adaptation:
    return f'snapshot {manifest.version} was adapted otherwise'
  if manifest.dtype != refresher.dtype:
    return f'snapshot {manifest.version} is in {manifest.dtype}'
  return ''


def _why_changed(
    refresher: refresher_lib.Refresher,
    past: past_lib.Past,
    base: contents_lib.Contents,
) -> str:
  """Says that what the base was made of is not what it was, if it is not."""
  members = base.find(refresher.table.entity_keys) >= 0
  now = past.digest(base.manifest.cutoff, members)
  if now != base.manifest.generator.get('past'):
    return (
        f'events or attributes from before the cutoff of snapshot'
        f' {base.manifest.version} have changed'
    )
  return ''


def changed(
    base: contents_lib.Contents,
    keys: np.ndarray,
    watermarks: np.ndarray,
) -> np.ndarray:
  """Returns the entities that are not in the base as they are now.

  Args:
    base: the published snapshot.
    keys: of all entities, [entities] str.
    watermarks: UTC seconds of the latest event of each, [entities].
  """
  found = base.find(keys)
  same = found >= 0
  same[same] = base.watermarks[found[same]] == watermarks[same]
  return np.flatnonzero(~same)


def gone(base: contents_lib.Contents, keys: np.ndarray) -> list[str]:
  """Returns the keys of the base that are no entity any more."""
  found = base.find(keys)
  is_gone = np.ones(base.keys.size, bool)
  is_gone[found[found >= 0]] = False
  return base.keys[is_gone].tolist()
