"""Service: scores requests with one snapshot and the weights that fit it."""

from collections.abc import Callable
from collections.abc import Sequence
import itertools
import pathlib
import time
from typing import NamedTuple

import numpy as np

from limaml_jax.bundle import columns as columns_lib
from limaml_jax.bundle import reading
from limaml_jax.serving import batcher as batcher_lib
from limaml_jax.serving import embeddings as embeddings_lib
from limaml_jax.serving import features
from limaml_jax.serving import metrics as metrics_lib
from limaml_jax.serving import request as request_lib
from limaml_jax.serving import runner as runner_lib
from limaml_jax.serving import settings as settings_lib
from limaml_jax.serving import versions as versions_lib
from limaml_jax.store import lookup as lookup_lib

_PRESENT = int(lookup_lib.Status.PRESENT)
_STALE = int(lookup_lib.Status.STALE)
_MISMATCH = int(lookup_lib.Status.VERSION_MISMATCH)
_UNAVAILABLE = int(lookup_lib.Status.UNAVAILABLE)


class Scored(NamedTuple):
  """The answer to a request of n entities and c rows.

  Attributes:
    scores: probability of label 1, float32 [c].
    statuses: `Status` of each embedding, uint8 [n].
    ages: of the embeddings, seconds, int64 [n]; -1 for a default one.
    snapshot: its version; '' if the store did not answer.
    fingerprint: of the model that scored.
    version: of the bundle.
  """

  scores: np.ndarray
  statuses: np.ndarray
  ages: np.ndarray
  snapshot: str
  fingerprint: str
  version: str


class _Asked(NamedTuple):
  """A request, and whether its entities' own embeddings score it."""

  request: request_lib.Request
  adapt: bool


class _Joined(NamedTuple):
  """Features of a request's rows, or what is wrong with them."""

  packed: columns_lib.Packed
  num_unknown: int
  error: Exception | None


class _Matched(NamedTuple):
  """Embeddings of n entities, and the version that they fit."""

  loaded: versions_lib.Loaded
  vectors: np.ndarray
  statuses: np.ndarray
  ages: np.ndarray
  snapshot: str


class Service:
  """A bundle and a store, ready to score; made for one event loop."""

  def __init__(
      self,
      root: str | pathlib.Path,
      settings: settings_lib.Settings,
      metrics: metrics_lib.Metrics,
      *,
      clock: Callable[[], float] = time.time,
  ):
    """Opens and compiles the bundle; the store may be down.

    Args:
      root: folder of the bundle.
      settings: of the operator.
      metrics: told of everything.
      clock: tells the time that ages count to, UTC seconds.

    Raises:
      InputError: if the bundle cannot be served.
    """
    self.settings = settings
    self.versions = versions_lib.Versions(
        pathlib.Path(root), max_entities=settings.max_entities
    )
    self._metrics = metrics
    self._clock = clock
    self.embeddings = embeddings_lib.Embeddings(
        settings.store,
        self.versions.current.bundle.manifest.entity_type,
        deadline_seconds=settings.deadline_seconds,
        on_failure=metrics.store_failed,
    )
    self.embeddings.open()
    self._batcher: batcher_lib.Batcher[_Asked, Scored] = batcher_lib.Batcher(
        self._score_all,
        batcher_lib.Size(settings.max_entities, runner_lib.MAX_ROWS),
    )

  async def score(
      self, request: request_lib.Request, *, adapt: bool = True
  ) -> Scored:
    """Scores the rows of a request, together with others that wait.

    Args:
      request: of n entities and c rows.
      adapt: with the entities' own embeddings; else with the default one.

    Raises:
      InputError: for a feature that does not fit; whatever happens to the
        store is no error.
    """
    size = batcher_lib.Size(len(request.entities), len(request.entity_of_row))
    return await self._batcher.submit(_Asked(request, adapt), size)

  def close(self) -> None:
    """Lets go of the store."""
    self.embeddings.close()

  async def _score_all(
      self, batch: Sequence[_Asked]
  ) -> list[Scored | Exception]:
    """Scores requests with one snapshot and one version."""
    start = time.perf_counter()
    keys = [key for asked in batch for key in asked.request.entities]
    found = await self.embeddings.lookup(keys, int(self._clock()))
    matched = self._match(len(keys), found)
    looked_up = time.perf_counter()
    joined = [_join(matched.loaded.bundle, asked.request) for asked in batch]
    gathered = time.perf_counter()
    results = _run(matched, batch, joined)
    done = time.perf_counter()
    self._metrics.scored(
        (looked_up - start, gathered - looked_up, done - gathered),
        statuses=matched.statuses,
        num_rows=[len(one.packed.ids) for one in joined],
        num_unknown=sum(one.num_unknown for one in joined),
        found=found,
        version=matched.loaded.bundle.manifest.version,
    )
    return results

  def _match(
      self, num_entities: int, found: lookup_lib.Lookup | None
  ) -> _Matched:
    """Returns what was found with the version that fits it."""
    loaded = self.versions.of(found.fingerprint if found else None)
    snapshot = found.version if found else ''
    if found is None or loaded is None:
      # No answer, or one that no version can read.
      loaded = self.versions.current
      return _Matched(
          loaded,
          np.tile(loaded.bundle.default, (num_entities, 1)),
          np.full(num_entities, _MISMATCH if found else _UNAVAILABLE, np.uint8),
          np.full(num_entities, -1, np.int64),
          snapshot,
      )
    limit = self.settings.max_age_seconds
    if limit < 0:
      limit = loaded.bundle.manifest.max_age_seconds
    statuses = found.statuses
    if limit:
      statuses[(found.ages > limit) & (statuses == _PRESENT)] = _STALE
    corrupt = ~np.isfinite(found.vectors).all(axis=1)
    if corrupt.any():
      self._metrics.store_failed('corrupt')
      found.vectors[corrupt] = loaded.bundle.default
      statuses[corrupt], found.ages[corrupt] = _UNAVAILABLE, -1
    return _Matched(loaded, found.vectors, statuses, found.ages, snapshot)


def _join(bundle: reading.Bundle, request: request_lib.Request) -> _Joined:
  """Returns the features of a request; no rows if one does not fit."""
  try:
    return _Joined(*features.join(bundle, request), None)
  except Exception as error:  # pylint: disable=broad-except
    # Whatever it is, it is no business of others in the batch.
    return _Joined(bundle.columns.blank(0), 0, error)


def _run(
    matched: _Matched, batch: Sequence[_Asked], joined: Sequence[_Joined]
) -> list[Scored | Exception]:
  """Scores all requests in one run, and tells them apart again."""
  bundle, runner = matched.loaded
  starts = _starts([len(asked.request.entities) for asked in batch])
  stops = _starts([len(one.packed.ids) for one in joined])
  owners = []
  for i, asked in enumerate(batch):
    if not joined[i].error:
      owners.append(asked.request.entity_of_row + np.int32(starts[i]))
    if not asked.adapt:
      matched.vectors[starts[i] : starts[i + 1]] = bundle.default
  scores = runner.score(
      matched.vectors,
      np.concatenate(owners) if owners else np.zeros(0, np.int32),
      columns_lib.concatenate([one.packed for one in joined]),
  )
  return [
      one.error
      or Scored(
          scores=scores[stops[i] : stops[i + 1]],
          statuses=matched.statuses[starts[i] : starts[i + 1]],
          ages=matched.ages[starts[i] : starts[i + 1]],
          snapshot=matched.snapshot,
          fingerprint=bundle.manifest.fingerprint,
          version=bundle.manifest.version,
      )
      for i, one in enumerate(joined)
  ]


def _starts(sizes: Sequence[int]) -> list[int]:
  """Returns where each part begins, and where the last one ends."""
  return [0, *itertools.accumulate(sizes)]
