"""Marker: the row that says which snapshots the others may be from.

It lies among them, under the key '', which no snapshot can hold, so that it is
lost when they are. It also holds the default embedding. Its `snapshot_version`
names one snapshot when a run has finished; from the first write of a run on,
all those that rows may be from, '' for none, between them `>`.
"""

import hashlib
from typing import NamedTuple

import feast
import numpy as np

from limaml_jax.store import manifest as manifest_lib
from limaml_jax.store.feast_store import online

KEY = ''
NOTHING = ''
_BETWEEN = '>'


class Marker(NamedTuple):
  """State of a view in Feast.

  Attributes:
    default: embedding of an entity without a vector, [E].
    fingerprint: of the model that made it.
    identities: of the snapshots that rows may be from, see `identity`; NOTHING
      among them if some of an interrupted first run may not be there.
  """

  default: tuple[float, ...]
  fingerprint: str
  identities: tuple[str, ...]

  @property
  def version(self) -> str:
    """Of the snapshot that the default is from."""
    # A run replaces the default last, when it has finished.
    first = next(i for i in self.identities if i != NOTHING)
    return version_of(first)


def identity(manifest: manifest_lib.Manifest) -> str:
  """Returns the version, and what tells it from its namesakes elsewhere."""
  text = manifest_lib.to_json(manifest)
  return f'{manifest.version}:{hashlib.sha256(text.encode()).hexdigest()[:16]}'


def version_of(identity_: str) -> str:
  """Returns the version that an identity begins with."""
  return identity_.partition(':')[0]


def of_snapshot(manifest: manifest_lib.Manifest) -> Marker:
  """Returns the marker of a finished run."""
  default = np.array(manifest.default_embedding, np.float32)
  return Marker(
      default=tuple(default.tolist()),
      fingerprint=manifest.fingerprint,
      identities=(identity(manifest),),
  )


def from_row(row: online.Row) -> Marker | None:
  """Returns what a marker's row says, or None if it was never written."""
  if row.vector is None:
    return None
  return Marker(
      tuple(row.vector), row.fingerprint, tuple(row.version.split(_BETWEEN))
  )


def read(
    feature_store: feast.FeatureStore, view: feast.FeatureView
) -> Marker | None:
  """Returns the marker, or None before the first run."""
  (row,) = online.read(feature_store, view, [KEY])
  return from_row(row)


def write(
    feature_store: feast.FeatureStore,
    view: feast.FeatureView,
    marker: Marker,
    *,
    target: manifest_lib.Manifest,
) -> None:
  """Writes the marker; its event time is the cutoff of the target.

  Raises:
    InputError: if the online store does not hold it afterwards.
  """
  row = online.Row(
      key=KEY,
      vector=marker.default,
      fingerprint=marker.fingerprint,
      version=_BETWEEN.join(marker.identities),
      event_timestamp=target.cutoff,
  )
  online.write(feature_store, view, [row], created=target.created)
  if read(feature_store, view) != marker:
    raise online.overwriting_refused(feature_store)
