"""Metrics: what Prometheus is told of the service."""

from collections.abc import Sequence
import functools
import time

import numpy as np
import prometheus_client
from prometheus_client import registry as registry_lib

from limaml_jax.store import lookup as lookup_lib

_STAGES = ('lookup', 'features', 'compute')
_SECONDS = (
    1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2,
    1e-1, 1.0,
)  # fmt: skip
_REQUESTS = (1, 2, 4, 8, 16, 32)
_ROWS = (1, 4, 16, 64, 128, 256, 1024, 4096, 16384)


class Metrics:
  """All metrics of a service; names begin with limaml_."""

  def __init__(self, registry: registry_lib.CollectorRegistry | None = None):
    """Registers them, in the registry of the process when none is given."""
    registry = registry or prometheus_client.REGISTRY
    histogram = functools.partial(
        prometheus_client.Histogram, registry=registry
    )
    counter = functools.partial(prometheus_client.Counter, registry=registry)
    gauge = functools.partial(prometheus_client.Gauge, registry=registry)
    stages = histogram(
        'limaml_stage_seconds',
        'Time of a batch of requests in each stage.',
        ['stage'],
        buckets=_SECONDS,
    )
    self._stages = [stages.labels(stage) for stage in _STAGES]
    self._requests = histogram(
        'limaml_batch_requests',
        'Requests scored together, as they waited at the same time.',
        buckets=_REQUESTS,
    )
    self._rows = histogram(
        'limaml_candidates', 'Candidates of a request.', buckets=_ROWS
    )
    embeddings = counter(
        'limaml_embeddings',
        'Entities scored, by the status of their embedding.',
        ['status'],
    )
    self._statuses = [
        embeddings.labels(status.name) for status in lookup_lib.Status
    ]
    self._unknown = counter(
        'limaml_unknown_candidates',
        'Candidates that the bundle does not know.',
    )
    self._failures = counter(
        'limaml_store_failures',
        'Lookups that the store did not answer, by why.',
        ['reason'],
    )
    self._reloads = counter(
        'limaml_reloads',
        'Versions of the bundle exported since the start, by outcome.',
        ['outcome'],
    )
    self._snapshot = gauge(
        'limaml_snapshot_version', 'Of the snapshot that answered last.'
    )
    self._version = gauge(
        'limaml_bundle_version', 'Of the bundle that scored last.'
    )
    self._snapshot_age = gauge(
        'limaml_snapshot_age_seconds',
        'Since the cutoff of the snapshot that answered last.',
    )
    self._last = ('', '')
    self._cutoff = 0
    self._show()

  def scored(
      self,
      seconds: tuple[float, ...],
      *,
      statuses: np.ndarray,
      num_rows: Sequence[int],
      num_unknown: int,
      found: lookup_lib.Lookup | None,
      version: str,
  ) -> None:
    """Takes note of a batch of requests.

    Args:
      seconds: by stage.
      statuses: of its embeddings, [n].
      num_rows: candidates of each request.
      num_unknown: those among them of which nothing is known.
      found: what the store answered.
      version: of the bundle.
    """
    for stage, value in zip(self._stages, seconds, strict=True):
      stage.observe(value)
    self._requests.observe(len(num_rows))
    for number in num_rows:
      self._rows.observe(number)
    for status in statuses.tolist():
      self._statuses[status].inc()
    if num_unknown:
      self._unknown.inc(num_unknown)
    snapshot = found.version if found else self._last[0]
    if (snapshot, version) != self._last:
      self._last = (snapshot, version)
      self._version.set(int(version))
      if found:
        self._cutoff = found.cutoff
        self._snapshot.set(int(found.version))

  def store_failed(self, reason: str) -> None:
    """Takes note of a lookup without an answer."""
    self._failures.labels(reason).inc()

  def reloaded(self, outcome: str) -> None:
    """Takes note of a new version of the bundle."""
    self._reloads.labels(outcome).inc()

  def _show(self) -> None:
    """Has all stand there before there is something to count."""
    self._snapshot_age.set_function(self._age)
    for reason in ('down', 'slow', 'corrupt'):
      self._failures.labels(reason)
    for outcome in ('served', 'refused'):
      self._reloads.labels(outcome)

  def _age(self) -> float:
    return time.time() - self._cutoff if self._cutoff else float('nan')


@functools.cache
def of_process() -> Metrics:
  """Returns those that the process shows; there can be no others of a name."""
  return Metrics()
