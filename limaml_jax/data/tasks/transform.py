"""Transforms an opened log into tasks: ordered, split, joined and encoded.

Vocabularies and statistics come from training rows alone. The result does not
depend on the order of the log's rows or files.
"""

from collections.abc import Iterator
import pathlib
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.data.log import raw_log
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.tasks import event_index
from limaml_jax.data.tasks import feature_encoder
from limaml_jax.data.tasks import log_statistics
from limaml_jax.data.tasks import ordered_events
from limaml_jax.data.tasks import side_tables
from limaml_jax.data.tasks import task_blocks


class Prepared(NamedTuple):
  """What a prepared dataset is made of, ready to be written.

  Attributes:
    index: of the events.
    label_mean: share of label 1 among training events.
    encoder: of the features; whole once `blocks` is exhausted.
    known_items: keys of the items' side table, if there is one.
  """

  index: event_index.EventIndex
  label_mean: float
  encoder: feature_encoder.FeatureEncoder
  known_items: pa.Array | None

  @property
  def specs(self) -> tuple[types.FeatureSpec, ...]:
    """Specifications, in the schema's order after the two IDs."""
    return tuple(self.encoder.specs)

  @property
  def vocabularies(self) -> dict[str, list[str]]:
    """Tokens of each categorical or multi_hot feature."""
    found = self.encoder.vocabularies
    return {name: tokens.to_pylist() for name, tokens in found.items()}

  def blocks(self) -> Iterator[task_blocks.TaskBlock]:
    """Encodes the log, and yields its tasks in order."""
    return task_blocks.blocks(self.index, self.encoder)

  def items(self) -> tuple[np.ndarray, types.HostFeatures]:
    """Returns items of training or of the side table, by key, once written."""
    listed = self.encoder.is_trained_item
    keys = self.encoder.item_keys
    if self.known_items is not None:
      listed = listed | (side_tables.find(keys, self.known_items) >= 0)
    return np.asarray(keys.to_pylist(), np.str_)[listed], {
        name: values[listed]
        for name, values in self.encoder.item_features.items()
    }


def transform(
    connection: duckdb.DuckDBPyConnection,
    log: raw_log.RawLog,
    schema: schema_lib.Schema,
    *,
    data: config_lib.DataConfig,
    protocol: config_lib.ProtocolConfig,
    scratch: pathlib.Path,
) -> Prepared:
  """Makes tasks of an opened log.

  Args:
    connection: DuckDB, which holds the log's tables.
    log: opened and validated.
    schema: that the log was opened by.
    data: task entity and smallest count of a category.
    protocol: which events train.
    scratch: directory for what is read while the tasks are written.

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
  ordered = ordered_events.write(
      connection, log, schema, entity, scratch / 'ordered.parquet'
  )
  index = event_index.read(ordered, protocol)
  found = log_statistics.collect(
      index, [feature for feature in log.features if feature.in_log]
  )
  encoder = feature_encoder.FeatureEncoder(
      index, found, known_items=known_items, min_count=data.min_count
  )
  encoder.add_entity_id(entity.key)
  encoder.add_item_id(schema.interactions.item)
  for feature in log.features:
    if feature.in_log:
      encoder.add_from_log(feature)
    elif feature.owner == 'item':
      encoder.add_of_item(feature, sides['item'])
    else:
      encoder.add_of_entity(feature, sides['entity'])
  return Prepared(index, found.label_mean, encoder, known_items)
