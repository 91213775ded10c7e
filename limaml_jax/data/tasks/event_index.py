"""Event index: whose the ordered events are, when they are, and which train.

All that is held of every event at once. What the protocol drops is gone from
here on: no later station can see it.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from limaml_jax import config as config_lib
from limaml_jax.data.tasks import event_split
from limaml_jax.data.tasks import ordered_events

_MICROSECONDS = 1_000_000


class EventIndex(NamedTuple):
  """Kept events in their order.

  Attributes:
    ordered: where their columns are.
    keep: of all the ordered events, which are kept, bool.
    entity_keys: ascending, Arrow strings, N of them.
    offsets: entity n owns events offsets[n]:offsets[n + 1], [N + 1].
    timestamps: UTC seconds, [events].
    is_train: whether each event trains, [events] bool.
    split: that was applied.
  """

  ordered: ordered_events.OrderedEvents
  keep: np.ndarray
  entity_keys: pa.Array
  offsets: np.ndarray
  timestamps: np.ndarray
  is_train: np.ndarray
  split: event_split.Split

  def parts(self, columns: Sequence[str]) -> Iterator[tuple[slice, pa.Table]]:
    """Yields columns of the kept events, some at a time, and which they are."""
    seen = start = 0
    for rows in self.ordered.parts(columns):
      keep = self.keep[seen:seen + len(rows)]
      seen += len(rows)
      if not keep.all():
        rows = rows.filter(pa.array(keep))
      yield slice(start, start + len(rows)), rows
      start += len(rows)


def read(
    ordered: ordered_events.OrderedEvents,
    protocol: config_lib.ProtocolConfig,
    *,
    max_history: int = 0,
) -> EventIndex:
  """Finds the entities, and applies the protocol to their events.

  Args:
    ordered: the log.
    protocol: which events train and which are tested.
    max_history: latest events before its first test event that an entity
      keeps; 0 for all.

  Raises:
    InputError: if the protocol does not fit the log.
  """
  keys, offsets, seconds = read_entities(ordered)
  split = event_split.split_events(
      keys.to_pylist(), offsets, seconds, protocol=protocol
  )
  if max_history:
    split = event_split.latest(split, offsets, max_history)
  counts = np.add.reduceat(split.keep, offsets[:-1], dtype=np.int64)
  kept = counts > 0
  split = split._replace(
      num_history=split.num_history[kept], num_train=split.num_train[kept]
  )
  counts, num_train = counts[kept], split.num_train
  return EventIndex(
      ordered=ordered,
      keep=split.keep,
      entity_keys=keys.filter(pa.array(kept)),
      offsets=np.concatenate([[0], np.cumsum(counts)]),
      timestamps=seconds[split.keep],
      # So many that train and so many that do not, entity by entity.
      is_train=np.repeat(
          np.tile([True, False], len(counts)),
          np.stack([num_train, counts - num_train], axis=1).ravel(),
      ),
      split=split,
  )


def read_entities(
    ordered: ordered_events.OrderedEvents,
) -> tuple[pa.Array, np.ndarray, np.ndarray]:
  """Reads whose the events are.

  Args:
    ordered: the log.

  Returns:
    The N entities' keys; where the events of each begin, [N + 1]; and the UTC
    seconds of all events.
  """
  keys, begins, num_seen, last = [], [], 0, None
  seconds = np.empty(ordered.num_events, np.int64)
  columns = (ordered_events.ENTITY, ordered_events.TIME)
  for rows in ordered.parts(columns):
    stop = num_seen + len(rows)
    times = rows[ordered_events.TIME].to_numpy()
    seconds[num_seen:stop] = times // _MICROSECONDS
    codes, texts = ordered_events.codes_and_texts(rows[ordered_events.ENTITY])
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    first = texts.take(pa.array(codes[starts]))
    if first[0] == last:  # Its events began in the part before.
      starts, first = starts[1:], first[1:]
    if len(first):
      last = first[-1]
    keys.append(first)
    begins.append(num_seen + starts)
    num_seen = stop
  offsets = np.concatenate([*begins, [num_seen]])
  return pa.concat_arrays(keys), offsets, seconds
