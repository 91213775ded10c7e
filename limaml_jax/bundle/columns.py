"""Columns: the raw features of rows, packed into two arrays.

Integers (rows of embedding tables) lie in `ids`, floats in `numbers`: a request
is then two arrays however many features there are, and what is known of an item
is a record of both. Features of one owner lie together.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from limaml_jax import types

OWNERS = ('item', 'entity', 'context')
# Of an unknown value, as `episodes.unknown` has it.
_UNKNOWN_ROW, _NO_VALUE = 0, -1


class Column(NamedTuple):
  """Where a feature lies.

  Attributes:
    spec: of the feature.
    start: its first column in `ids`, or in `numbers` if it is numeric.
    stop: the column after its last.
  """

  spec: types.FeatureSpec
  start: int
  stop: int

  @property
  def is_number(self) -> bool:
    """Whether it lies in `numbers`."""
    return self.spec.kind == 'numeric'


class Packed(NamedTuple):
  """Raw features of n rows, those of all owners or of one.

  Attributes:
    ids: int32 [n, columns].
    numbers: float32 [n, columns].
  """

  ids: np.ndarray
  numbers: np.ndarray


def concatenate(parts: Sequence[Packed]) -> Packed:
  """Returns the rows of all parts, one part after another."""
  if len(parts) == 1:
    return parts[0]
  return Packed(
      np.concatenate([part.ids for part in parts]),
      np.concatenate([part.numbers for part in parts]),
  )


class Span(NamedTuple):
  """The columns of one owner."""

  ids: slice
  numbers: slice


class Columns:
  """Which column is whose.

  Attributes:
    specs: of the features, in the order in which the network reads them.
    by_name: the columns of each feature.
    spans: the columns of each owner.
    unknown: a row of which nothing is known.
  """

  def __init__(self, specs: Sequence[types.FeatureSpec]):
    self.specs = tuple(specs)
    self.by_name: dict[str, Column] = {}
    self.spans: dict[str, Span] = {}
    num_ids = num_numbers = 0
    unknown_ids = []
    for owner in OWNERS:
      first_id, first_number = num_ids, num_numbers
      for spec in self.specs:
        if spec.owner != owner:
          continue
        if spec.kind == 'numeric':
          self.by_name[spec.name] = Column(spec, num_numbers, num_numbers + 1)
          num_numbers += 1
          continue
        width = max(spec.max_values, 1)
        self.by_name[spec.name] = Column(spec, num_ids, num_ids + width)
        num_ids += width
        empty = _NO_VALUE if spec.max_values else _UNKNOWN_ROW
        unknown_ids += [empty] * width
      self.spans[owner] = Span(
          slice(first_id, num_ids), slice(first_number, num_numbers)
      )
    self.unknown = Packed(
        np.asarray(unknown_ids, np.int32),
        np.full(num_numbers, np.nan, np.float32),
    )

  def record(self, owner: str) -> np.dtype:
    """Returns the structured type of what is known of one item or entity."""
    span = self.spans[owner]
    return np.dtype([
        ('ids', '<i4', (span.ids.stop - span.ids.start,)),
        ('numbers', '<f4', (span.numbers.stop - span.numbers.start,)),
    ])

  def pack(
      self, owner: str, features: types.HostFeatures, num_rows: int
  ) -> np.ndarray:
    """Returns records of an owner's features, [num_rows].

    Args:
      owner: whose.
      features: raw, leaves [num_rows, ...]; a missing one is unknown.
      num_rows: of them.
    """
    span = self.spans[owner]
    records = np.zeros(num_rows, self.record(owner))
    records['ids'] = self.unknown.ids[span.ids]
    records['numbers'] = self.unknown.numbers[span.numbers]
    for name, column in self.by_name.items():
      if column.spec.owner != owner or name not in features:
        continue
      field, first = (
          ('numbers', span.numbers.start)
          if column.is_number
          else ('ids', span.ids.start)
      )
      where = slice(column.start - first, column.stop - first)
      values = features[name].reshape(num_rows, -1)
      records[field][:, where] = values
    return records

  def blank(self, num_rows: int) -> Packed:
    """Returns rows of which nothing is known yet."""
    return Packed(
        np.tile(self.unknown.ids, (num_rows, 1)),
        np.tile(self.unknown.numbers, (num_rows, 1)),
    )

  def unpack(self, ids: types.Array, numbers: types.Array) -> types.Features:
    """Returns the features of one row by name, in numpy or jax.

    Args:
      ids: [columns].
      numbers: [columns].
    """
    features = {}
    for name, column in self.by_name.items():
      packed = numbers if column.is_number else ids
      is_list = column.spec.kind == 'multi_hot'
      where = slice(column.start, column.stop) if is_list else column.start
      features[name] = packed[where]
    return features
