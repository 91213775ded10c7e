"""Service: scores requests with one snapshot and the weights that fit it."""

import pathlib
import time
from typing import NamedTuple

import numpy as np

from limaml_jax.serving import embeddings as embeddings_lib
from limaml_jax.serving import features
from limaml_jax.serving import metrics as metrics_lib
from limaml_jax.serving import request as request_lib
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


class Service:
  """A bundle and a store, ready to score; made for one event loop."""

  def __init__(
      self,
      root: str | pathlib.Path,
      settings: settings_lib.Settings,
      metrics: metrics_lib.Metrics,
  ):
    """Opens and compiles the bundle; the store may be down.

    Args:
      root: folder of the bundle.
      settings: of the operator.
      metrics: told of everything.

    Raises:
      InputError: if the bundle cannot be served.
    """
    self.settings = settings
    self.versions = versions_lib.Versions(
        pathlib.Path(root), max_entities=settings.max_entities
    )
    self._metrics = metrics
    self.embeddings = embeddings_lib.Embeddings(
        settings.store,
        self.versions.current.bundle.manifest.entity_type,
        deadline_seconds=settings.deadline_seconds,
        on_failure=metrics.store_failed,
    )
    self.embeddings.open()

  async def score(
      self,
      request: request_lib.Request,
      *,
      adapt: bool = True,
      now: int | None = None,
  ) -> Scored:
    """Scores the rows of a request.

    Args:
      request: of n entities and c rows.
      adapt: with the entities' own embeddings; else with the default one.
      now: UTC seconds that ages count to; None asks the clock.

    Raises:
      InputError: for a feature that does not fit; whatever happens to the
        store is no error.
    """
    start = time.perf_counter()
    now = int(time.time()) if now is None else now
    found = await self.embeddings.lookup(request.entities, now)
    loaded, vectors, statuses, ages = self._match(request, found)
    if not adapt:
      vectors = np.tile(loaded.bundle.default, (len(statuses), 1))
    looked_up = time.perf_counter()
    joined, num_unknown = features.join(loaded.bundle, request)
    gathered = time.perf_counter()
    scores = loaded.runner.score(vectors, request.entity_of_row, joined)
    done = time.perf_counter()
    self._metrics.scored(
        (looked_up - start, gathered - looked_up, done - gathered),
        statuses=statuses,
        num_rows=len(scores),
        num_unknown=num_unknown,
        found=found,
        version=loaded.bundle.manifest.version,
    )
    manifest = loaded.bundle.manifest
    return Scored(
        scores=scores,
        statuses=statuses,
        ages=ages,
        snapshot=found.version if found else '',
        fingerprint=manifest.fingerprint,
        version=manifest.version,
    )

  def close(self) -> None:
    """Lets go of the store."""
    self.embeddings.close()

  def _match(self, request, found):
    """Returns the version that fits what was found, and embeddings for it."""
    num_entities = len(request.entities)
    loaded = self.versions.of(found.fingerprint if found else None)
    if loaded is None:  # No answer, or none that any version can read.
      loaded = self.versions.current
      status = _MISMATCH if found else _UNAVAILABLE
      return (
          loaded,
          np.tile(loaded.bundle.default, (num_entities, 1)),
          np.full(num_entities, status, np.uint8),
          np.full(num_entities, -1, np.int64),
      )
    limit = self.settings.max_age_seconds
    if limit < 0:
      limit = loaded.bundle.manifest.max_age_seconds
    statuses = found.statuses
    if limit:
      statuses[(found.ages > limit) & (statuses == _PRESENT)] = _STALE
    return loaded, found.vectors, statuses, found.ages
