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
    vectors: as they are served, float32 [n, E].
    watermarks: UTC seconds of the latest event of each, -1 for none, [n].
  """

  manifest: manifest_lib.Manifest
  keys: np.ndarray
  vectors: np.ndarray
  watermarks: np.ndarray

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
    found = np.searchsorted(self.keys, keys)
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
      parts.append(b''.join(records))
      digest.add(block, parts[-1])
      keys += [key.decode() for key in block]
  snapshot.check(store, manifest, digest.hexdigest())
  layout = record.layout(manifest.dimension, manifest.dtype)
  records = np.frombuffer(b''.join(parts), layout)
  return Contents(
      manifest=manifest,
      keys=np.asarray(keys, np.str_),
      vectors=vector_dtypes.decode(records, manifest.dtype),
      watermarks=records['watermark'],
  )
