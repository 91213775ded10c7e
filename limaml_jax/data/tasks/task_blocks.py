"""Task blocks: some entities with all of their events, encoded.

Tasks are written and read by the block: one example per entity would take
longer to write than all else takes together.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from limaml_jax import types
from limaml_jax.data.tasks import event_index
from limaml_jax.data.tasks import feature_encoder
from limaml_jax.data.tasks import ordered_events
from limaml_jax.data.tasks import task_layout

_EVENTS_PER_BLOCK = 2**16


class TaskBlock(NamedTuple):
  """Entities start:stop of the dataset, and their events.

  Attributes:
    start: first entity.
    stop: end of the entities.
    entity_keys: one after another in UTF-8, [bytes] uint8.
    key_lengths: bytes of each key, [stop - start].
    num_events: of each entity, [stop - start].
    num_history: of each entity, [stop - start].
    num_train: of each entity, [stop - start].
    timestamps: UTC seconds, [events].
    labels: [events] float32.
    targets: of the events in the losses, [events] float32.
    weights: of the events in the losses, [events] float32.
    entity_features: leaves [stop - start, ...].
    event_features: leaves [events, ...].
  """

  start: int
  stop: int
  entity_keys: np.ndarray
  key_lengths: np.ndarray
  num_events: np.ndarray
  num_history: np.ndarray
  num_train: np.ndarray
  timestamps: np.ndarray
  labels: np.ndarray
  targets: np.ndarray
  weights: np.ndarray
  entity_features: types.HostFeatures
  event_features: types.HostFeatures


def blocks(
    index: event_index.EventIndex, encoder: feature_encoder.FeatureEncoder
) -> Iterator[TaskBlock]:
  """Encodes the log, and yields its tasks in order."""
  bounds = _bounds(index.offsets)
  encoded = _Pieces(_encode(index, encoder))
  for start, stop in zip(bounds[:-1], bounds[1:], strict=True):
    first, end = index.offsets[start], index.offsets[stop]
    piece = encoded.take(end - first)
    keys, lengths = task_layout.join_texts(index.entity_keys[start:stop])
    yield TaskBlock(
        start=start,
        stop=stop,
        entity_keys=keys,
        key_lengths=lengths,
        num_events=np.diff(index.offsets[start:stop + 1]),
        num_history=index.split.num_history[start:stop],
        num_train=index.split.num_train[start:stop],
        timestamps=index.timestamps[first:end],
        labels=piece.labels,
        targets=piece.targets,
        weights=piece.weights,
        entity_features={
            name: values[start:stop]
            for name, values in encoder.entity_features.items()
        },
        event_features=piece.features,
    )


def _bounds(offsets: np.ndarray) -> list[int]:
  """Returns the entities at which blocks begin, and the end."""
  num_events = int(offsets[-1])
  wanted = np.arange(0, num_events, _EVENTS_PER_BLOCK)
  begins = np.unique(np.searchsorted(offsets[:-1], wanted))
  return [*begins[begins < len(offsets) - 1].tolist(), len(offsets) - 1]


class _Piece(NamedTuple):
  """Some events; all leaves [events, ...]."""

  labels: np.ndarray
  targets: np.ndarray
  weights: np.ndarray
  features: types.HostFeatures


def _encode(index, encoder):
  """Yields some encoded events at a time."""
  columns = [ordered_events.TIME, ordered_events.ITEM, ordered_events.LABEL]
  columns += [
      name
      for name in (
          ordered_events.TARGET,
          ordered_events.WEIGHT,
          *(f'feature.{spec.name}' for spec in encoder.specs),
      )
      if name in index.ordered.columns
  ]
  for where, rows in index.parts(columns):
    if len(rows):
      labels = rows[ordered_events.LABEL].to_numpy()
      yield _Piece(
          labels=labels,
          targets=_numbers(rows, ordered_events.TARGET, labels),
          weights=_numbers(rows, ordered_events.WEIGHT, np.ones(len(rows))),
          features=encoder.encode(where, rows),
      )


def _numbers(rows, name, default):
  """Returns a column, or what stands for it where the schema gives none."""
  values = rows[name].to_numpy() if name in rows.column_names else default
  return values.astype(np.float32)


class _Pieces:
  """Cuts a stream of pieces into pieces of other lengths."""

  def __init__(self, stream: Iterator[_Piece]):
    self._stream = stream
    self._held: list[_Piece] = []

  def take(self, size: int) -> _Piece:
    """Returns the next events of the stream."""
    parts = []
    while size:
      piece = self._held.pop() if self._held else next(self._stream)
      if len(piece.labels) > size:
        self._held.append(_slice(piece, slice(size, None)))
        piece = _slice(piece, slice(size))
      parts.append(piece)
      size -= len(piece.labels)
    return _Piece(
        labels=np.concatenate([piece.labels for piece in parts]),
        targets=np.concatenate([piece.targets for piece in parts]),
        weights=np.concatenate([piece.weights for piece in parts]),
        features={
            name: np.concatenate([piece.features[name] for piece in parts])
            for name in parts[0].features
        },
    )


def _slice(piece, rows):
  return _Piece(
      labels=piece.labels[rows],
      targets=piece.targets[rows],
      weights=piece.weights[rows],
      features={name: x[rows] for name, x in piece.features.items()},
  )
