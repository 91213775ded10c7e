"""Explorer: shows people what adaptation does to the scores of an entity.

All candidates are scored twice, in parts, so that other requests pass between.
"""

import asyncio
import time
from typing import NamedTuple

import numpy as np

from limaml_jax import errors
from limaml_jax.bundle import manifest as manifest_lib
from limaml_jax.serving import request as request_lib
from limaml_jax.serving import service as service_lib
from limaml_jax.serving import versions as versions_lib
from limaml_jax.store import lookup as lookup_lib

_MAX_CANDIDATES = 5000  # Beyond which some are chosen at random.
_NUM_EXAMPLES = 200  # Entities to begin with.
_ROWS_PER_PART = 512
_NUM_BINS = 41  # Odd: that in the middle is about no shift.
_TRIES = 3
_SEED = 0


class Moves(NamedTuple):
  """The candidates of an entity, with its own embedding and with the default.

  Attributes:
    entity: its key.
    status: of its embedding.
    age: of the embedding, seconds; -1 for a default one.
    max_age_seconds: beyond which it is STALE; 0 never.
    snapshot: its version; '' if the store did not answer.
    fingerprint: of the model.
    version: of the bundle.
    candidates: keys of items, [c].
    adapted: scores with the entity's own embedding, float32 [c].
    default: scores with the default embedding, float32 [c].
  """

  entity: str
  status: lookup_lib.Status
  age: int
  max_age_seconds: int
  snapshot: str
  fingerprint: str
  version: str
  candidates: list[str]
  adapted: np.ndarray
  default: np.ndarray


class Histogram(NamedTuple):
  """Shifts of scores in equal bins from -limit to limit.

  Attributes:
    limit: the largest shift there is, either way.
    counts: [bins] int64; all in the middle if nothing moves.
  """

  limit: float
  counts: np.ndarray


class _Keys(NamedTuple):
  """Keys of one version of the bundle, by its whole manifest.

  A bundle may have been deleted, and made anew from the first version on.
  """

  manifest: manifest_lib.Manifest | None
  candidates: list[str]
  examples: list[str]


class Explorer:
  """Asks a service what anybody might ask it, for a person to look at."""

  def __init__(self, service: service_lib.Service):
    """Reads nothing yet."""
    self._service = service
    self._keys = _Keys(None, [], [])

  async def snapshot(self) -> lookup_lib.Lookup | None:
    """Returns a lookup of nobody; None if the store does not answer."""
    return await self._service.embeddings.lookup([], int(time.time()))

  def loaded(self, found: lookup_lib.Lookup | None) -> versions_lib.Loaded:
    """Returns the version of the bundle that scores with a snapshot."""
    versions = self._service.versions
    return versions.of(found.fingerprint if found else None) or versions.current

  def max_age_seconds(self, loaded: versions_lib.Loaded) -> int:
    """Returns beyond which age an embedding is STALE; 0 never."""
    limit = self._service.settings.max_age_seconds
    return loaded.bundle.manifest.max_age_seconds if limit < 0 else limit

  async def examples(self, loaded: versions_lib.Loaded) -> list[str]:
    """Returns keys of some entities; none if there is nobody to ask."""
    known = (await self._keys_of(loaded)).examples
    return known or self._service.embeddings.keys('', _NUM_EXAMPLES)

  async def candidates(self, loaded: versions_lib.Loaded) -> list[str]:
    """Returns keys of all items, or of some; none if the bundle knows none."""
    return (await self._keys_of(loaded)).candidates

  async def entities(self, prefix: str, limit: int) -> list[str]:
    """Returns the first entities whose keys begin so.

    Args:
      prefix: of their keys.
      limit: how many, at most; of those that the bundle knows, or the store if
        it knows none.
    """
    table = self.loaded(await self.snapshot()).bundle.entities
    if table is None:
      return self._service.embeddings.keys(prefix, limit)
    return table.keys(prefix, limit=limit)

  async def moves(self, entity: str) -> Moves:
    """Scores all candidates of an entity, known or not.

    Raises:
      InputError: if snapshots or versions are exchanged again and again.
    """
    for _ in range(_TRIES):
      loaded = self.loaded(await self.snapshot())
      candidates = await self.candidates(loaded)
      adapted = await self._score(entity, candidates, adapt=True)
      default = await self._score(entity, candidates, adapt=False)
      parts = adapted + default
      seen = {(part.snapshot, part.fingerprint, part.version) for part in parts}
      if len(seen) > 1 or parts[0].version != loaded.bundle.manifest.version:
        continue
      first = parts[0]
      return Moves(
          entity=entity,
          status=lookup_lib.Status(int(first.statuses[0])),
          age=int(first.ages[0]),
          max_age_seconds=self.max_age_seconds(loaded),
          snapshot=first.snapshot,
          fingerprint=first.fingerprint,
          version=first.version,
          candidates=candidates,
          adapted=np.concatenate([part.scores for part in adapted]),
          default=np.concatenate([part.scores for part in default]),
      )
    raise errors.InputError(
        'scores: another snapshot or bundle came while they were computed; ask'
        ' again'
    )

  async def _score(self, entity, candidates, *, adapt):
    """Returns what the service says of each part of the candidates."""
    limits = self._service.settings
    size = min(_ROWS_PER_PART, limits.max_candidates)
    scored = []
    for start in range(0, max(len(candidates), 1), size):
      part = candidates[start : start + size]
      request = request_lib.make([entity], part, {}, limits=limits)
      scored.append(await self._service.score(request, adapt=adapt))
      await asyncio.sleep(0)  # Whoever else waits goes first.
    return scored

  async def _keys_of(self, loaded: versions_lib.Loaded) -> _Keys:
    if self._keys.manifest != loaded.bundle.manifest:
      self._keys = await asyncio.to_thread(_choose, loaded)
    return self._keys


def ranks(scores: np.ndarray) -> np.ndarray:
  """Returns the rank of each score, 1 the highest; [c] -> int64 [c].

  Of equal ones the first comes first.
  """
  order = np.argsort(-scores, kind='stable')
  found = np.empty(len(scores), np.int64)
  found[order] = np.arange(1, len(scores) + 1)
  return found


def histogram(shifts: np.ndarray) -> Histogram:
  """Counts how far scores move, [c]."""
  limit = float(np.abs(shifts).max(initial=0.0))
  scaled = shifts / limit if limit else np.zeros(len(shifts))
  counts, _ = np.histogram(scaled, bins=_NUM_BINS, range=(-1.0, 1.0))
  return Histogram(limit, counts)


def _choose(loaded: versions_lib.Loaded) -> _Keys:
  bundle = loaded.bundle
  sample = lambda table, n: table.sample(n, seed=_SEED) if table else []
  return _Keys(
      bundle.manifest,
      sample(bundle.items, _MAX_CANDIDATES),
      sample(bundle.entities, _NUM_EXAMPLES),
  )
