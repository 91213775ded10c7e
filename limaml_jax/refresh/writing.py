"""Writing: from a plan to a snapshot, by way of the staging."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from limaml_jax.refresh import crew
from limaml_jax.refresh import generate
from limaml_jax.refresh import refresher as refresher_lib
from limaml_jax.refresh import selection
from limaml_jax.refresh import staging as staging_lib
from limaml_jax.store import manifest as manifest_lib
from limaml_jax.store import record
from limaml_jax.store import snapshot

_ROWS_PER_CHUNK = 65536


def write(
    refresher: refresher_lib.Refresher,
    cutoff: int,
    base: selection.Base,
    plan: generate.Plan,
    *,
    generator: dict[str, Any],
    staging: staging_lib.Staging,
    on_progress: crew.Progress,
) -> manifest_lib.Manifest:
  """Adapts the entities of a plan, and writes a snapshot.

  Args:
    refresher: the trained model.
    cutoff: UTC seconds.
    base: whose other entities are carried over.
    plan: who is adapted.
    generator: for the manifest.
    staging: keeps what is finished.
    on_progress: told of each step.

  Returns:
    The manifest of the new version, which is not published yet.
  """
  vectors = crew.adapt(
      refresher, cutoff, plan, staging=staging, on_progress=on_progress
  )
  entities = np.concatenate(
      [part.entities for part in plan.parts] or [np.zeros(0, np.int64)]
  )
  keys = refresher.table.entity_keys
  return snapshot.write(
      refresher.store,
      refresher.info.entity_type,
      _chunks(keys, entities, vectors, plan.watermarks, on_progress),
      default_embedding=refresher.default_embedding(),
      fingerprint=refresher.fingerprint,
      cutoff=cutoff,
      created=staging.created,
      dtype=refresher.dtype,
      generator=generator,
      base=base.carried.manifest.version if base.carried else None,
      without=selection.gone(base.carried, keys) if base.carried else (),
      finite=False,  # The gate says it better.
  )


def _chunks(
    keys: np.ndarray,
    entities: np.ndarray,
    vectors: list[np.ndarray],
    watermarks: np.ndarray,
    on_progress: crew.Progress,
) -> Iterator[record.Chunk]:
  """Yields what was adapted in ascending order of keys."""
  if not entities.size:
    return
  joined = np.concatenate(vectors)
  order = np.argsort(keys[entities], kind='stable')
  for start in range(0, order.size, _ROWS_PER_CHUNK):
    rows = order[start : start + _ROWS_PER_CHUNK]
    chosen = entities[rows]
    yield record.Chunk(
        keys[chosen].tolist(), joined[rows], watermarks[chosen]
    )
    on_progress('write', start + rows.size, order.size)
