"""Lookup: Feast's answer for n entities, as the store itself would give it."""

from collections.abc import Sequence
import time

import feast
import numpy as np

from limaml_jax import errors
from limaml_jax.store import lookup as lookup_lib
from limaml_jax.store import record as record_lib
from limaml_jax.store.feast_store import marker as marker_lib
from limaml_jax.store.feast_store import online
from limaml_jax.store.feast_store import repo

Status = lookup_lib.Status


def lookup(
    feature_store: feast.FeatureStore,
    entity_type: str,
    keys: Sequence[str],
    *,
    fingerprint: str | None = None,
    max_age_seconds: int = 0,
    now: int | None = None,
) -> lookup_lib.Lookup:
  """Looks n entities up by one call of `get_online_features`.

  An entity that Feast has no row of, or a null one, is MISSING. STALE is by
  `max_age_seconds` and the row's event time: Feast's own `ttl` does not keep
  it from answering with a value that is older (feast#6821). VERSION_MISMATCH is
  found row by row, as rows of two snapshots may stand side by side while a run
  of `materialize` is on.

  Args:
    feature_store: that `materialize` has written to.
    entity_type: whose embeddings, e.g. 'user'.
    keys: of the entities; unknown and repeated ones are welcome.
    fingerprint: of the model that will use them; None takes any.
    max_age_seconds: beyond which a vector is STALE; 0 never.
    now: UTC seconds that ages count to; None asks the clock.

  Returns:
    Vectors, statuses and ages in the order of `keys`; the version is that of
    the default embedding's snapshot, which is the last one whose run has
    finished, or in a first run the one that it began with.

  Raises:
    InputError: if nothing was materialized, or the online store fails.
  """
  now = int(time.time()) if now is None else now
  view = repo.find_view(feature_store, entity_type)
  # One byte that is no UTF-8 stands for a key that no snapshot can hold.
  encoded = record_lib.encode_keys(keys)
  asked = [i for i, key in enumerate(encoded) if _is_text(key)]
  marker_row, *rows = online.read(
      feature_store, view, [marker_lib.KEY, *(keys[i] for i in asked)]
  )
  marker = marker_lib.from_row(marker_row)
  if marker is None:
    raise errors.InputError(
        f'Feast project {feature_store.project!r}: nothing was materialized'
        f' into {view.name!r}; run experiments.feast_materialize'
    )
  other_model = fingerprint not in (None, marker.fingerprint)
  answer = lookup_lib.Lookup(
      vectors=np.tile(np.array(marker.default, np.float32), (len(keys), 1)),
      statuses=np.full(
          len(keys),
          Status.VERSION_MISMATCH if other_model else Status.MISSING,
          np.uint8,
      ),
      ages=np.full(len(keys), -1, np.int64),
      version=marker.version,
      fingerprint=marker.fingerprint,
      cutoff=0,  # Feast does not keep it.
  )
  for i, row in zip(asked, rows, strict=True):
    if row.vector is None:
      continue
    # Another dimension is another model's, even to who takes any.
    fits = len(row.vector) == len(marker.default)
    if not fits or fingerprint not in (None, row.fingerprint):
      answer.statuses[i] = Status.VERSION_MISMATCH
      continue
    age = max(now - row.event_timestamp, 0)  # Clocks of two machines differ.
    is_stale = 0 < max_age_seconds < age
    answer.vectors[i] = row.vector
    answer.ages[i] = age
    answer.statuses[i] = Status.STALE if is_stale else Status.PRESENT
  return answer


def _is_text(encoded: bytes) -> bool:
  try:
    encoded.decode()
  except UnicodeDecodeError:
    return False
  return True
