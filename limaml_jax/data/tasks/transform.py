"""Transforms an opened log into tasks: ordered, split, joined and encoded.

Vocabularies and statistics come from training rows alone. The result does not
depend on the order of the log's rows or files.
"""

from typing import NamedTuple

import duckdb
import numpy as np

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.data import dataset
from limaml_jax.data.log import raw_log
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.tasks import event_split
from limaml_jax.data.tasks import feature_encoder
from limaml_jax.data.tasks import ordered_events
from limaml_jax.data.tasks import side_tables


class Prepared(NamedTuple):
  """What a prepared dataset holds, before it is written.

  Attributes:
    table: the tasks.
    features: specifications, in the schema's order after the two IDs.
    vocabularies: tokens of each categorical or multi_hot feature.
    item_keys: items of training or of the side table, ascending.
    item_features: their item-owned features, leaves [items, ...].
    split: of the events.
  """

  table: dataset.TaskTable
  features: tuple[types.FeatureSpec, ...]
  vocabularies: dict[str, list[str]]
  item_keys: np.ndarray
  item_features: types.HostFeatures
  split: event_split.Split


def transform(
    connection: duckdb.DuckDBPyConnection,
    log: raw_log.RawLog,
    schema: schema_lib.Schema,
    *,
    data: config_lib.DataConfig,
    protocol: config_lib.ProtocolConfig,
) -> Prepared:
  """Makes tasks of an opened log.

  Args:
    connection: DuckDB, which holds the log's tables.
    log: opened and validated.
    schema: that the log was opened by.
    data: task entity and smallest count of a category.
    protocol: which events train.

  Returns:
    Everything there is to write.

  Raises:
    InputError: if the protocol does not fit the log, or a side table knows
      none of the log's keys.
  """
  entity = schema.entities[data.task_entity]
  sources = {'entity': entity.side_table, 'item': schema.item.side_table}
  sides = {
      owner: side_tables.read(connection, log, source, owner=owner)
      for owner, source in sources.items() if source
  }
  known_items = sides['item'].keys if 'item' in sides else None
  events = ordered_events.read(
      connection, log, schema, entity,
      known_items=known_items, protocol=protocol,
  )
  encoder = feature_encoder.FeatureEncoder(events, min_count=data.min_count)
  encoder.add_entity_id(entity.key)
  encoder.add_item_id(schema.interactions.item)
  for feature in log.features:
    if feature.in_log:
      encoder.add_from_log(feature)
    elif feature.owner == 'item':
      encoder.add_of_item(feature, sides['item'])
    else:
      encoder.add_of_entity(feature, sides['entity'])
  return _gather(events, encoder, known_items)


def _gather(events, encoder, known_items):
  listed = np.zeros(len(events.item_keys), bool)
  listed[events.items[events.is_train]] = True
  if known_items is not None:
    listed |= side_tables.find(events.item_keys, known_items) >= 0
  return Prepared(
      table=dataset.TaskTable(
          entity_keys=_texts(events.entity_keys),
          offsets=events.offsets,
          num_history=events.split.num_history,
          num_train=events.split.num_train,
          timestamps=events.columns['time'].to_numpy() // 1000000,
          labels=events.columns['label'].to_numpy(),
          entity_features=encoder.entity_features,
          event_features=encoder.event_features,
      ),
      features=tuple(encoder.specs),
      vocabularies=encoder.vocabularies,
      item_keys=_texts(events.item_keys)[listed],
      item_features={
          name: values[listed]
          for name, values in encoder.item_features.items()
      },
      split=events.split,
  )


def _texts(keys):
  return np.asarray(keys.to_pylist(), dtype=np.str_)
