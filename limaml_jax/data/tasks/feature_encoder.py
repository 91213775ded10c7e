"""Feature encoder: raw columns to arrays, by what training rows say of them.

Items and entities are encoded once each and their events refer to them; the
log's own columns are encoded part by part. A cell counts as often as it stands
on a training row; an entity's cell counts once if the entity trains.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from limaml_jax import types
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.tasks import cell_encoder
from limaml_jax.data.tasks import event_index
from limaml_jax.data.tasks import fitting
from limaml_jax.data.tasks import log_statistics
from limaml_jax.data.tasks import ordered_events
from limaml_jax.data.tasks import side_tables


class FeatureEncoder:
  """Learns how features are encoded, one feature at a time; then encodes.

  Attributes:
    specs: in the order they were added.
    vocabularies: tokens of each categorical or multi_hot feature that is not
      hashed.
    entity_features: leaves [N, ...].
    item_keys: ascending, Arrow strings: those of the log and those known.
    item_features: item features, leaves [items, ...]; those that stand in the
      log are filled in as the log is encoded.
  """

  def __init__(
      self,
      index: event_index.EventIndex,
      found: log_statistics.LogStatistics,
      *,
      known_items: pa.Array | None,
      min_count: int,
      kept: Mapping[str, fitting.Fitted] | None = None,
  ):
    """Takes what the training rows of the log say.

    Args:
      index: of the events.
      found: in the log; of items alone where all features are `kept`.
      known_items: keys that are listed whether they stand in the log or not.
      min_count: training rows that a token needs.
      kept: by feature, the two IDs included, what an earlier dataset was
        encoded by; it is not fitted again.
    """
    self._index = index
    self._found = found
    self._min_count = min_count
    self._kept = kept or {}
    items = found.counts[ordered_events.ITEM]
    keys = items.texts
    if known_items is not None:
      keys = pa.concat_arrays([keys, known_items]).unique()
    self.item_keys = keys.sort()
    self._item_rows = np.zeros(len(keys), np.int64)
    self._item_rows[side_tables.find(items.texts, self.item_keys)] = (
        items.totals
    )
    self._entity_rows = (index.split.num_train > 0).astype(np.int64)
    self._rows_of: dict[str, np.ndarray] = {}
    self._log_encodes: dict[str, cell_encoder.Encode] = {}
    self._latest_times: dict[str, np.ndarray] = {}
    self.specs: list[types.FeatureSpec] = []
    self.vocabularies: dict[str, pa.Array] = {}
    self.entity_features: types.HostFeatures = {}
    self.item_features: types.HostFeatures = {}

  @property
  def is_trained_item(self) -> np.ndarray:
    """Whether each item has training rows, [items] bool."""
    return self._item_rows > 0

  def add_entity_id(self, name: str) -> None:
    """Adds the entity's ID: known if it trains, however little."""
    feature = schema_lib.Feature(
        name=name, owner='entity', kind='categorical', role='meta'
    )
    self.entity_features[name] = self._add_cells(
        feature, self._index.entity_keys, self._entity_rows, min_count=1
    )

  def add_item_id(self, name: str) -> None:
    """Adds the item's ID."""
    feature = schema_lib.Feature(
        name=name, owner='item', kind='categorical', role='global'
    )
    self.item_features[name] = self._add_cells(
        feature, self.item_keys, self._item_rows
    )

  def add_of_entity(
      self, feature: schema_lib.Feature, side: side_tables.SideRows
  ) -> None:
    """Adds a feature of the entities' side table."""
    if 'entity' not in self._rows_of:
      self._rows_of['entity'] = side_tables.rows_of(
          self._index.entity_keys, side, 'entity'
      )
    cells = _take(side.columns[feature.name], self._rows_of['entity'])
    self.entity_features[feature.name] = self._add_cells(
        feature, cells, self._entity_rows
    )

  def add_of_item(
      self, feature: schema_lib.Feature, side: side_tables.SideRows
  ) -> None:
    """Adds a feature of the items' side table."""
    if 'item' not in self._rows_of:
      seen = self._found.counts[ordered_events.ITEM].texts
      side_tables.rows_of(seen, side, 'item')
      self._rows_of['item'] = side.find(self.item_keys)
    cells = _take(side.columns[feature.name], self._rows_of['item'])
    self.item_features[feature.name] = self._add_cells(
        feature, cells, self._item_rows
    )

  def add_from_log(self, feature: schema_lib.Feature) -> None:
    """Adds a context feature, or another's that each event states anew."""
    fitted = self._kept.get(feature.name) or fitting.fit_log(
        feature, self._found, min_count=self._min_count
    )
    self._log_encodes[feature.name] = self._add(feature, fitted)
    if feature.owner == 'item':
      self._start_latest(self.specs[-1])

  def encode(self, where: slice, rows: pa.Table) -> types.HostFeatures:
    """Encodes the item and context features of some kept events.

    Args:
      where: which events they are.
      rows: their columns in the log.

    Returns:
      Leaves [events, ...].
    """
    codes, texts = ordered_events.codes_and_texts(rows[ordered_events.ITEM])
    items = side_tables.find(texts, self.item_keys)[codes]
    values = {}
    for spec in self.specs:
      name = spec.name
      if name in self._log_encodes:
        values[name] = self._log_encodes[name](rows[f'feature.{name}'])
      elif name in self.item_features:
        values[name] = self.item_features[name][items]
    train = np.flatnonzero(self._index.is_train[where])
    for name, latest in self._latest_times.items():
      times = rows[ordered_events.TIME].to_numpy()[train]
      # Of equal indices, the last assignment stays.
      newest = train[np.argsort(times, kind='stable')]
      times = np.sort(times, kind='stable')
      newest, times = _no_older(newest, times, latest[items[newest]])
      self.item_features[name][items[newest]] = values[name][newest]
      latest[items[newest]] = times
    return values

  def _start_latest(self, spec):
    """Makes room for each item's value at its latest training event."""
    empty = {'multi_hot': -1, 'numeric': spec.mean}.get(spec.kind, 0)
    dtype = np.float32 if spec.kind == 'numeric' else np.int32
    shape = (len(self.item_keys), *([spec.max_values] * bool(spec.max_values)))
    self.item_features[spec.name] = np.full(shape, empty, dtype)
    earliest = np.iinfo(np.int64).min
    self._latest_times[spec.name] = np.full(len(self.item_keys), earliest)

  def _add_cells(self, feature, cells, weights, min_count=None):
    """Encodes one cell each, and records specification and vocabulary."""
    column = pa.chunked_array([cells])
    fitted = self._kept.get(feature.name) or fitting.fit_cells(
        feature, column, weights, min_count=min_count or self._min_count
    )
    return self._add(feature, fitted)(column)

  def _add(self, feature, fitted) -> cell_encoder.Encode:
    self.specs.append(fitted.spec)
    if fitted.tokens is not None:
      self.vocabularies[feature.name] = fitted.tokens
    return cell_encoder.make_encode(feature, fitted)


def _no_older(rows, times, latest):
  """Leaves out rows of a time before the latest one known."""
  kept = times >= latest
  return rows[kept], times[kept]


def _take(column, rows):
  """Gathers rows of an Arrow column; row -1 is empty."""
  return column.take(pa.array(rows, mask=rows < 0))
