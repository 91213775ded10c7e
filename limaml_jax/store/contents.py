"""Contents: a whole snapshot in memory, to compare and to carry over."""

from typing import NamedTuple

import numpy as np

from limaml_jax.store import backend as backend_lib
from limaml_jax.store import checksum
from limaml_jax.store import manifest as manifest_lib
from limaml_jax.store import record
from limaml_jax.store import snapshot
from limaml_jax.store import vector_dtypes


class Contents(NamedTuple):
  """What a snapshot holds.

  Attributes:
    manifest: of the snapshot.
    keys: of its n entities in ascending order, [n] str.
    records: of them, of `record.layout`, [n].
  """

  manifest: manifest_lib.Manifest
  keys: np.ndarray
  records: np.ndarray

  @property
  def watermarks(self) -> np.ndarray:
    """UTC seconds of the latest event of each, -1 for none, [n]."""
    return self.records['watermark']

  @property
  def vectors(self) -> np.ndarray:
    """All vectors as they are served, float32 [n, E], decoded each time."""
    return vector_dtypes.decode(self.records, self.manifest.dtype)

  def take(self, rows: np.ndarray) -> np.ndarray:
    """Returns some of the vectors as they are served, float32 [m, E].

    Args:
      rows: [m] int64.
    """
    return vector_dtypes.decode(self.records[rows], self.manifest.dtype)

  def find(self, keys: np.ndarray) -> np.ndarray:
    """Returns where each key is, -1 where it is not, [m] int64.

    Args:
      keys: [m] str.
    """
    if not self.keys.size:
      return np.full(len(keys), -1)
    if np.array_equal(keys, self.keys):  # So it is on most days.
      return np.arange(self.keys.size)
    # Keys ascend by their bytes in UTF-8, which is the order of code points.
    # One that is cut off here is longer than all, and found to differ below.
    found = np.searchsorted(self.keys, keys.astype(self.keys.dtype))
    found = np.minimum(found, self.keys.size - 1)
    return np.where(self.keys[found] == keys, found, -1)


def load(
    store: backend_lib.Backend, entity_type: str, version: str
) -> Contents:
  """Reads a finished snapshot, published or not.

  Raises:
    InputError: if it is absent or corrupt.
  """
  with store.open_snapshot(entity_type, version) as opened:
    manifest = opened.manifest
    digest, keys, parts = checksum.Checksum(), [], []
    for block, records in opened.scan():
      digest.add(block, records)
      parts.append(records)
      keys.append(record.decode_keys(block))
  snapshot.check(store, manifest, digest.hexdigest())
  layout = record.layout(manifest.dimension, manifest.dtype)
  return Contents(
      manifest=manifest,
      keys=np.concatenate(keys or [np.zeros(0, np.str_)]),
      records=np.frombuffer(b''.join(parts), layout),
  )
