"""Event split: which events of an entity train, which are tested, and when.

Works on events grouped by entity and ascending in time; sees no features.
Whatever the split, an entity's history is strictly earlier than its first
test event.
"""

from collections.abc import Sequence
import hashlib
from typing import NamedTuple

import numpy as np

from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax.data.tasks import protocol as protocol_lib

# Newcomers are tested right after this many events.
NEWCOMER_HISTORIES = (0, 3, 12)


class Split(NamedTuple):
  """What a protocol makes of the events.

  Attributes:
    keep: whether each event stays in the dataset, [events] bool.
    num_history: kept events of each entity before its first test event, [N].
    num_train: how many of those train: all of them, or for a newcomer 0, [N].
    cutoffs: UTC seconds of the refreshes, ascending; empty when each entity
      has a cutoff of its own.
    test_end: UTC seconds; later than every kept event.
    refresh_seconds: between refreshes; 0 for a single generation.
  """

  keep: np.ndarray
  num_history: np.ndarray
  num_train: np.ndarray
  cutoffs: tuple[int, ...]
  test_end: int
  refresh_seconds: int


def split_events(
    entity_keys: Sequence[str],
    offsets: np.ndarray,
    timestamps: np.ndarray,
    *,
    protocol: config_lib.ProtocolConfig,
) -> Split:
  """Splits events as the protocol says.

  Args:
    entity_keys: one per entity, N of them.
    offsets: entity n owns events offsets[n]:offsets[n + 1], [N + 1].
    timestamps: UTC seconds, ascending inside an entity, [events].
    protocol: the settings.

  Returns:
    The split.

  Raises:
    InputError: if a setting is wrong or leaves nothing to train on.
  """
  protocol_lib.check(protocol)
  if protocol.split == 'by_time':
    split = _by_time(offsets, timestamps, protocol)
  else:
    split = _within_entity(entity_keys, offsets, timestamps, protocol)
  if not split.num_train.any():
    first = protocol_lib.format_time(timestamps.min())
    last = protocol_lib.format_time(timestamps.max())
    raise errors.InputError(
        'protocol: no event is left to train on'
        f' ({protocol_lib.describe(protocol)}; the log spans {first} to'
        f' {last}); change the protocol'
    )
  return split


def hides_inside(protocol: config_lib.ProtocolConfig) -> bool:
  """Says whether a hidden event may be earlier than one that is not.

  Then time alone does not keep it from whoever counts the events of others.
  """
  return protocol.split != 'by_time' and protocol.phase == 'validation'


def hidden_from(
    entity_keys: Sequence[str],
    offsets: np.ndarray,
    timestamps: np.ndarray,
    *,
    protocol: config_lib.ProtocolConfig,
) -> np.ndarray:
  """Returns the UTC second from which each entity's events are hidden, [N].

  They are the events that the test is for, in the phase before it.

  Args:
    entity_keys: as of `split_events`, like all others.
    offsets: [N + 1].
    timestamps: [events].
    protocol: the settings.
  """
  ends = _visible_ends(entity_keys, offsets, timestamps, protocol)
  never = np.iinfo(np.int64).max
  seconds = np.append(timestamps, never)[ends]
  return np.where(ends < offsets[1:], seconds, never)


def latest(split: Split, offsets: np.ndarray, max_history: int) -> Split:
  """Keeps the latest events of each entity's history, and its test events.

  Args:
    split: of a protocol.
    offsets: entity n owns events offsets[n]:offsets[n + 1], [N + 1].
    max_history: events of a history.
  """
  num_dropped = np.maximum(split.num_history - max_history, 0)
  num_kept = np.concatenate([[0], np.cumsum(split.keep)])
  before = np.repeat(num_kept[offsets[:-1]] + num_dropped, np.diff(offsets))
  return split._replace(
      keep=split.keep & (num_kept[:-1] >= before),
      num_history=split.num_history - num_dropped,
      num_train=np.minimum(split.num_train, max_history),
  )


def _by_time(offsets, timestamps, protocol):
  """Trains before a time, tests from there to another."""
  start = protocol_lib.parse_time(protocol.train_end, 'train_end')
  end = protocol_lib.parse_time(protocol.test_end, 'test_end')
  names = ('train_end', 'test_end')
  if protocol.phase == 'validation':
    names = ('validation_start', 'train_end')
    end = start
    start = protocol_lib.parse_time(protocol.validation_start, names[0])
  if start >= end:
    raise errors.InputError(
        f'protocol.{names[0]}: is not before {names[1]}; set it earlier'
    )
  keep = timestamps < end
  num_train = _count(timestamps < start, offsets)
  period = protocol.refresh_hours * 3600
  return Split(
      keep=keep,
      num_history=num_train,
      num_train=num_train,
      cutoffs=tuple(range(start, end, period)) if period else (start,),
      test_end=end,
      refresh_seconds=period,
  )


def _within_entity(entity_keys, offsets, timestamps, protocol):
  """Tests the last events of each entity, and newcomers early on."""
  fraction = protocol.new_entity_fraction
  places, histories = _hash_keys(entity_keys, fraction)
  newcomer = places < fraction
  begins = offsets[:-1]
  ends = offsets[1:]
  if protocol.phase == 'validation':
    # Those the test calls newcomers are unknown yet; others play their part.
    ends = _visible_ends(entity_keys, offsets, timestamps, protocol)
    newcomer = (places >= fraction) & (places < 2 * fraction)
  tested, ends = _bounds(
      begins, ends, timestamps, newcomer, histories, protocol
  )
  keep = _marks(begins, ends, len(timestamps))
  num_history = tested - begins
  last = timestamps[keep].max(initial=0)
  return Split(
      keep=keep,
      num_history=num_history,
      num_train=np.where(newcomer, 0, num_history),
      cutoffs=(),
      test_end=int(last) + 1,
      refresh_seconds=0,
  )


def _visible_ends(entity_keys, offsets, timestamps, protocol):
  """Returns where the events begin that the test hides, per entity."""
  fraction = protocol.new_entity_fraction
  places, histories = _hash_keys(entity_keys, fraction)
  newcomer = places < fraction
  begins, ends = offsets[:-1], offsets[1:]
  tested, _ = _bounds(begins, ends, timestamps, newcomer, histories, protocol)
  return np.where(newcomer, begins, tested)


def _hash_keys(entity_keys, fraction):
  """Returns places in [0, 1), and what newcomers have of history, [N] each."""
  # Without newcomers nobody's key needs hashing.
  keys = entity_keys if fraction else []
  places = np.ones(len(entity_keys))
  places[:len(keys)] = [_place(key) for key in keys]
  histories = np.zeros(len(entity_keys), np.int64)
  histories[:len(keys)] = [_newcomer_history(key) for key in keys]
  return places, histories


def _bounds(begins, ends, timestamps, newcomer, histories, protocol):
  """Returns where test events begin and end, per entity."""
  sizes = ends - begins
  # The margin keeps 10 * (1 - 0.9) from being 0.9999.
  train = np.floor(sizes * (1 - protocol.test_fraction) + 1e-9).astype(np.int64)
  history = np.where(
      newcomer, np.minimum(histories, np.maximum(sizes - 1, 0)), train
  )
  tested = _first_of_equals(begins + history, begins, ends, timestamps)
  most = np.where(newcomer, np.maximum(sizes - train, 1), sizes)
  return tested, np.minimum(ends, tested + most)


def _first_of_equals(positions, begins, ends, timestamps):
  """Moves each position down to the first event of the same time."""
  changes = np.flatnonzero(timestamps[1:] != timestamps[:-1]) + 1
  firsts = np.concatenate([[0], changes])
  run = np.searchsorted(firsts, positions, side='right') - 1
  # A run of equal times may begin in the entity before.
  moved = np.maximum(firsts[run], begins)
  return np.where(positions < ends, moved, positions)


def _marks(begins, ends, size):
  """Returns whether each event is inside begins[n]:ends[n] of some n."""
  steps = np.zeros(size + 1, np.int64)
  np.add.at(steps, begins, 1)
  np.add.at(steps, ends, -1)
  return np.cumsum(steps)[:-1] > 0


def _count(marks, offsets):
  """Returns how many of each entity's events are marked, [N]."""
  totals = np.concatenate([[0], np.cumsum(marks)])
  return totals[offsets[1:]] - totals[offsets[:-1]]


def _digest(key):
  return hashlib.blake2b(str(key).encode(), digest_size=16).digest()


def _place(key):
  """Returns a number in [0, 1) that depends on nothing but the key."""
  return int.from_bytes(_digest(key)[:8], 'big') / 2**64


def _newcomer_history(key):
  choice = int.from_bytes(_digest(key)[8:], 'big') % len(NEWCOMER_HISTORIES)
  return NEWCOMER_HISTORIES[choice]
