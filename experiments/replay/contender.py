"""Contender: a bundle and its store, which score impressions as its server."""

import asyncio
import dataclasses
import pathlib
from typing import NamedTuple

import numpy as np

from experiments import bundle_input
from experiments.replay import impressions as impressions_lib
from limaml_jax import errors
from limaml_jax.data.log import event_time
from limaml_jax.serving import request as request_lib
from limaml_jax.store import address
from limaml_jax.store import lookup

MAX_ROWS = 2048  # Of one request.
_PATIENCE = 60.0  # Seconds for the store to answer.
# Ages count to it, and are then counted back: watermarks are earlier.
_LATER = event_time.LATEST


class Scored(NamedTuple):
  """What a contender says of impressions, [c] each.

  Attributes:
    scores: probability of label 1, float64.
    statuses: `lookup.Status` of each embedding at the time of the impression.
    ages: of each embedding then, seconds; -1 for a default one.
    leaks: whether the snapshot was made of events after the impression.
    known: whether the bundle knows the item.
  """

  scores: np.ndarray
  statuses: np.ndarray
  ages: np.ndarray
  leaks: np.ndarray
  known: np.ndarray


class Contender:
  """One bundle, open with the snapshot that its store has published.

  Attributes:
    root: folder of the bundle.
    store: address, for people: without any password.
    snapshot: version of the snapshot.
    cutoff: of the snapshot, UTC seconds.
    manifest: of the version of the bundle that scores.
  """

  def __init__(self, root: str, store: str | None = None):
    """Opens a bundle.

    Args:
      root: its folder.
      store: address of another store than its own.

    Raises:
      InputError: if either cannot be read.
    """
    self.root = pathlib.Path(root)
    settings = bundle_input.read_settings(self.root, store)
    self.store = address.open_backend(settings.store).address
    self._service = bundle_input.open_service(
        self.root,
        dataclasses.replace(
            settings,
            max_age_seconds=0,  # Judged here, at the time of an impression.
            deadline_seconds=_PATIENCE,
        ),
        max_rows=MAX_ROWS,
        clock=lambda: _LATER,
    )
    versions = self._service.versions
    with lookup.Reader(
        settings.store, versions.current.bundle.manifest.entity_type
    ) as reader:
      found = reader.lookup([])
    self.snapshot, self.cutoff = found.version, found.cutoff
    self._bundle = (
        versions.of(found.fingerprint) or versions.current
    ).bundle
    self.manifest = self._bundle.manifest
    limit = settings.max_age_seconds
    self._max_age = self.manifest.max_age_seconds if limit < 0 else limit
    self._known_items: dict[str, bool] = {}

  def check(self, impressions: impressions_lib.Impressions) -> None:
    """Refuses a log whose features do not fit the bundle.

    Raises:
      InputError: for a feature of another kind, or a context feature that the
        log does not state.
    """
    path = impressions.schema.path
    columns = self._bundle.columns.by_name
    for feature in impressions.features:
      column = columns.get(feature.name)
      if column and column.spec.kind != feature.kind:
        raise errors.InputError(
            f'{path}: feature {feature.name!r} is {feature.kind}, and'
            f' {column.spec.kind} in {self.root}; use the schema that the'
            ' model was trained with'
        )
    stated = {feature.name for feature in impressions.features}
    missing = [
        name
        for name, column in columns.items()
        if column.spec.owner == 'context' and name not in stated
    ]
    if missing:
      raise errors.InputError(
          f'{path}: has no context feature {", ".join(map(repr, missing))},'
          f' which {self.root} reads; add it, or use the schema that the model'
          ' was trained with'
      )

  def score(self, rows: impressions_lib.Slice) -> Scored:
    """Scores impressions of at most MAX_ROWS.

    Raises:
      InputError: if the store falls silent, or publishes another snapshot.
    """
    columns = self._bundle.columns.by_name
    request = request_lib.make(
        rows.entities,
        rows.items,
        {
            name: request_lib.Given(values)
            for name, values in rows.values.items()
            if name in columns
        },
        counts=rows.counts,
        limits=self._service.settings,
    )
    scored = asyncio.run(self._service.score(request))
    if scored.snapshot != self.snapshot:
      raise errors.InputError(
          f'{self.store}: answered with snapshot {self.snapshot!r} and then'
          f' with {scored.snapshot!r}; replay while nothing is published'
      )
    watermarks = np.repeat(_LATER - scored.ages, rows.counts)
    has_age = np.repeat(scored.ages >= 0, rows.counts)
    ages = np.maximum(rows.times - watermarks, 0)
    statuses = np.repeat(scored.statuses, rows.counts)
    if self._max_age:
      is_old = has_age & (ages > self._max_age)
      statuses[is_old & (statuses == lookup.Status.PRESENT)] = (
          lookup.Status.STALE
      )
    return Scored(
        scores=scored.scores.astype(np.float64),
        statuses=statuses,
        ages=np.where(has_age, ages, -1),
        leaks=rows.times < self.cutoff,
        known=np.asarray([self._knows(item) for item in rows.items], bool),
    )

  def close(self) -> None:
    """Lets go of the store."""
    self._service.close()

  def _knows(self, item: str) -> bool:
    known = self._known_items.get(item)
    if known is None:
      items = self._bundle.items
      known = items is not None and items.get([item])[1] == 0
      self._known_items[item] = known
    return known
