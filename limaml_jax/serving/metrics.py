"""Metrics: what Prometheus is told of the service."""

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
_ROWS = (1, 4, 16, 64, 128, 256, 1024, 4096, 16384)


class Metrics:
  """All metrics of a service; names begin with limaml_."""

  def __init__(self, registry: registry_lib.CollectorRegistry | None = None):
    """Registers them, in the registry of the process when none is given."""
    registry = registry or prometheus_client.REGISTRY
    stages = prometheus_client.Histogram(
        'limaml_stage_seconds',
        'Time of a request in each stage.',
        ['stage'],
        buckets=_SECONDS,
        registry=registry,
    )
    self._stages = [stages.labels(stage) for stage in _STAGES]
    self._rows = prometheus_client.Histogram(
        'limaml_candidates',
        'Candidates of a request.',
        buckets=_ROWS,
        registry=registry,
    )
    embeddings = prometheus_client.Counter(
        'limaml_embeddings',
        'Entities scored, by the status of their embedding.',
        ['status'],
        registry=registry,
    )
    self._statuses = [
        embeddings.labels(status.name) for status in lookup_lib.Status
    ]
    self._unknown = prometheus_client.Counter(
        'limaml_unknown_candidates',
        'Candidates that the bundle does not know.',
        registry=registry,
    )
    self._failures = prometheus_client.Counter(
        'limaml_store_failures',
        'Lookups that the store did not answer, by why.',
        ['reason'],
        registry=registry,
    )
    self._reloads = prometheus_client.Counter(
        'limaml_reloads',
        'Versions of the bundle exported since the start, by outcome.',
        ['outcome'],
        registry=registry,
    )
    self._snapshot = prometheus_client.Gauge(
        'limaml_snapshot_version',
        'Of the snapshot that answered last.',
        registry=registry,
    )
    self._snapshot_age = prometheus_client.Gauge(
        'limaml_snapshot_age_seconds',
        'Since the cutoff of the snapshot that answered last.',
        registry=registry,
    )
    self._cutoff = 0
    self._version = prometheus_client.Gauge(
        'limaml_bundle_version',
        'Of the bundle that scored last.',
        registry=registry,
    )
    self._last = ('', '')
    self._show()

  def scored(
      self,
      seconds: tuple[float, ...],
      *,
      statuses: np.ndarray,
      num_rows: int,
      num_unknown: int,
      found: lookup_lib.Lookup | None,
      version: str,
  ) -> None:
    """Takes note of a request.

    Args:
      seconds: by stage.
      statuses: of its embeddings, [n].
      num_rows: its candidates.
      num_unknown: those among them of which nothing is known.
      found: what the store answered.
      version: of the bundle.
    """
    for stage, value in zip(self._stages, seconds, strict=True):
      stage.observe(value)
    self._rows.observe(num_rows)
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
    for reason in ('down', 'slow'):
      self._failures.labels(reason)
    for outcome in ('served', 'refused'):
      self._reloads.labels(outcome)

  def _age(self) -> float:
    return time.time() - self._cutoff if self._cutoff else float('nan')


@functools.cache
def of_process() -> Metrics:
  """Returns those that the process shows; there can be no others of a name."""
  return Metrics()
