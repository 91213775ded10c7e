"""Feature encoder: raw columns to arrays, vocabularies and statistics.

Items and entities are encoded once each and their events refer to them. A
cell counts as often as it stands on a training row; an entity's cell counts
once if the entity trains.
"""

import numpy as np
import pyarrow as pa

from limaml_jax import types
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.tasks import ordered_events
from limaml_jax.data.tasks import side_tables
from limaml_jax.data.tasks import statistics
from limaml_jax.data.tasks import vocabulary


class FeatureEncoder:
  """Collects encoded features.

  Attributes:
    specs: in the order they were added.
    vocabularies: tokens of each categorical or multi_hot feature.
    entity_features: leaves [N, ...].
    event_features: item and context features, leaves [events, ...].
    item_features: item features, leaves [items, ...].
  """

  def __init__(self, events: ordered_events.Events, *, min_count: int):
    """Counts on the training rows of `events`."""
    self._events = events
    self._min_count = min_count
    self._train_rows = events.is_train.astype(np.float64)
    self._item_rows = np.bincount(
        events.items[events.is_train], minlength=len(events.item_keys)
    ).astype(np.float64)
    self._entity_rows = (events.split.num_train > 0).astype(np.float64)
    self._found: dict[str, np.ndarray] = {}
    self.specs: list[types.FeatureSpec] = []
    self.vocabularies: dict[str, list[str]] = {}
    self.entity_features: types.HostFeatures = {}
    self.event_features: types.HostFeatures = {}
    self.item_features: types.HostFeatures = {}

  def add_entity_id(self, name: str) -> None:
    """Adds the entity's ID: known if it trains, however little."""
    feature = schema_lib.Feature(
        name=name, owner='entity', kind='categorical', role='meta'
    )
    self.entity_features[name] = self._encode(
        feature, self._events.entity_keys, self._entity_rows, min_count=1
    )

  def add_item_id(self, name: str) -> None:
    """Adds the item's ID."""
    feature = schema_lib.Feature(
        name=name, owner='item', kind='categorical', role='global'
    )
    self._add_item_cells(feature, self._events.item_keys)

  def add_of_entity(
      self, feature: schema_lib.Feature, side: side_tables.SideRows
  ) -> None:
    """Adds a feature of the entities' side table."""
    if 'entity' not in self._found:
      self._found['entity'] = side_tables.rows_of(
          self._events.entity_keys, side, 'entity'
      )
    cells = _take(side.columns[feature.name], self._found['entity'])
    self.entity_features[feature.name] = self._encode(
        feature, cells, self._entity_rows
    )

  def add_of_item(
      self, feature: schema_lib.Feature, side: side_tables.SideRows
  ) -> None:
    """Adds a feature of the items' side table."""
    if 'item' not in self._found:
      seen = np.unique(self._events.items)
      side_tables.rows_of(self._events.item_keys.take(seen), side, 'item')
      self._found['item'] = side.find(self._events.item_keys)
    cells = _take(side.columns[feature.name], self._found['item'])
    self._add_item_cells(feature, cells)

  def add_from_log(self, feature: schema_lib.Feature) -> None:
    """Adds a context feature, or an item's that each event states anew."""
    column = self._events.columns[f'feature.{feature.name}'].combine_chunks()
    values = self._encode(feature, column, self._train_rows)
    self.event_features[feature.name] = values
    if feature.owner == 'item':
      self.item_features[feature.name] = self._latest(values)

  def _add_item_cells(self, feature, cells):
    values = self._encode(feature, cells, self._item_rows)
    self.item_features[feature.name] = values
    self.event_features[feature.name] = values[self._events.items]

  def _encode(self, feature, cells, weights, min_count=None):
    """Encodes one cell each, and records specification and vocabulary."""
    min_count = self._min_count if min_count is None else min_count
    facts = {}
    if feature.kind == 'numeric':
      values = cells.to_numpy(zero_copy_only=False).astype(np.float64)
      mean, std = statistics.mean_and_std(values, weights)
      facts = {'mean': mean, 'std': std}
      values = np.where(np.isnan(values), mean, values).astype(np.float32)
    else:
      codes, texts = _dictionary(cells)
      if feature.kind == 'multi_hot':
        tokens, values = vocabulary.encode_multi_hot(
            codes, texts, feature, weights=weights, min_count=min_count
        )
      else:
        tokens, values = vocabulary.encode_categorical(
            codes, texts, weights=weights, min_count=min_count
        )
      self.vocabularies[feature.name] = tokens
      facts = {'num_rows': len(tokens) + 1, 'max_values': feature.max_values}
    self.specs.append(
        types.FeatureSpec(
            name=feature.name,
            kind=feature.kind,
            owner=feature.owner,
            role=feature.role,
            transform=feature.transform,
            **facts,
        )
    )
    return values

  def _latest(self, values):
    """Returns each item's value at its latest training event."""
    spec = self.specs[-1]
    empty = {'categorical': 0, 'multi_hot': -1, 'numeric': spec.mean}
    shape = (len(self._events.item_keys), *values.shape[1:])
    latest = np.full(shape, empty[spec.kind], values.dtype)
    rows = np.flatnonzero(self._events.is_train)
    times = self._events.columns['time'].to_numpy()[rows]
    rows = rows[np.argsort(times, kind='stable')]
    # Of equal indices, the last assignment stays.
    latest[self._events.items[rows]] = values[rows]
    return latest


def _take(column, rows):
  """Gathers rows of an Arrow column; row -1 is empty."""
  return column.take(pa.array(rows, mask=rows < 0))


def _dictionary(cells):
  """Returns the position of each cell among the distinct texts, or -1."""
  encoded = cells.dictionary_encode()
  codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
  return codes, encoded.dictionary.to_pylist()
