"""Transforms an ordered log into tasks: split, joined and encoded.

Vocabularies and statistics come from training rows alone, or are those of an
earlier dataset. The result does not depend on the order of the log's rows or
files.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import json
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.tasks import encoding as encoding_lib
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
    known_items: keys that are listed beside those with training rows: of the
      items' side table and of an encoding that was kept.
  """

  index: event_index.EventIndex
  label_mean: float
  encoder: feature_encoder.FeatureEncoder
  known_items: pa.Array | None

  @property
  def specs(self) -> tuple[types.FeatureSpec, ...]:
    """Specifications, in the schema's order after the two IDs."""
    return tuple(self.encoder.specs)

  def vocabularies(self) -> str:
    """Returns tokens of each categorical or multi_hot feature, in JSON."""
    found = self.encoder.vocabularies
    return json.dumps(
        {name: tokens.to_pylist() for name, tokens in found.items()},
        ensure_ascii=False,
    )

  def blocks(self) -> Iterator[task_blocks.TaskBlock]:
    """Encodes the log, and yields its tasks in order."""
    return task_blocks.blocks(self.index, self.encoder)

  def items(self) -> tuple[np.ndarray, types.HostFeatures]:
    """Returns items of training and all that are known, once written."""
    listed = self.encoder.is_trained_item
    keys = self.encoder.item_keys
    if self.known_items is not None:
      listed = listed | (side_tables.find(keys, self.known_items) >= 0)
    return np.asarray(keys.to_pylist(), np.str_)[listed], {
        name: values[listed]
        for name, values in self.encoder.item_features.items()
    }


def transform(
    ordered: ordered_events.OrderedEvents,
    schema: schema_lib.Schema,
    features: Sequence[schema_lib.Feature],
    sides: Mapping[str, side_tables.SideRows],
    *,
    data: config_lib.DataConfig,
    protocol: config_lib.ProtocolConfig,
    kept: encoding_lib.Encoding | None = None,
) -> Prepared:
  """Makes tasks of an ordered log.

  Args:
    ordered: the log.
    schema: that it was opened by.
    features: that bear on the adapted entity type.
    sides: side tables of owners 'entity' and 'item' that hold for all time.
    data: task entity and smallest count of a category.
    protocol: which events train.
    kept: encoding of an earlier dataset, checked against `features`; fitted
      anew when left out.

  Returns:
    Everything there is to write.

  Raises:
    InputError: if the protocol does not fit the log, or a side table knows
      none of the log's keys.
  """
  entity = schema.entities[data.task_entity]
  item = schema.interactions.item
  index = event_index.read(
      ordered, protocol, max_history=data.max_events_per_entity
  )
  fitted = kept.features if kept else {}
  found = log_statistics.collect(
      index, [f for f in features if f.in_log and f.name not in fitted]
  )
  known_items = _known_items(sides, fitted.get(item))
  encoder = feature_encoder.FeatureEncoder(
      index,
      found,
      known_items=known_items,
      min_count=data.min_count,
      kept=fitted,
  )
  encoder.add_entity_id(entity.key)
  encoder.add_item_id(item)
  # The network reads features in the order it was trained with.
  order = list(fitted)
  if order:
    features = sorted(features, key=lambda f: order.index(f.name))
  for feature in features:
    if feature.in_log:
      encoder.add_from_log(feature)
    elif feature.owner == 'item':
      encoder.add_of_item(feature, sides['item'])
    else:
      encoder.add_of_entity(feature, sides['entity'])
  return Prepared(index, found.label_mean, encoder, known_items)


def _known_items(sides, fitted) -> pa.Array | None:
  """Returns keys of the items' side table and of a vocabulary, if any."""
  found = [sides['item'].keys] if 'item' in sides else []
  if fitted is not None:
    found.append(fitted.tokens)
  return pa.concat_arrays(found).unique() if found else None
