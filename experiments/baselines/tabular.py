"""Table of features of all events, for models that read columns of numbers.

Beside the features of the log stand rates of the past, made by hand. Nothing
in a row depends on the label of its event or of any later one.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from experiments import pipeline
from experiments.baselines import rates
from experiments.baselines import served_rows
from limaml_jax import types
from limaml_jax.data import dataset

# Categories that a tree can split by itself; those of larger vocabularies are
# told by the past rate of their label alone.
MAX_CATEGORIES = 255
# A multi_hot feature has a column for each value, up to so many.
MAX_INDICATORS = 32
# Features of vocabularies up to this are crossed with the entity.
MAX_CROSSED = 64


@dataclasses.dataclass(frozen=True)
class RateSettings:
  """Rates made by hand.

  Attributes:
    of_entities: of the entity, and of the entity with each category.
    at_refresh: seen at the last refresh before an event, not at the event.
    strength: events' worth of belief in the rate that each is smoothed to.
  """

  of_entities: bool = True
  at_refresh: bool = False
  strength: float = 10.0


class Columns(NamedTuple):
  """Features of events.

  Attributes:
    values: nan where unknown, [events, columns] float32.
    names: of the columns.
    is_categorical: whether each holds categories, [columns] bool.
  """

  values: np.ndarray
  names: list[str]
  is_categorical: np.ndarray


def feature_of_events(
    data: pipeline.Dataset, name: str
) -> np.ndarray:
  """Returns a raw feature of each event, [events, ...]."""
  table = data.table
  if name in table.event_features:
    return table.event_features[name]
  return table.entity_features[name][dataset.event_owners(data.table)]


def make(data: pipeline.Dataset, settings: RateSettings) -> Columns:
  """Makes the columns of all events."""
  columns: dict[str, np.ndarray] = {}
  categorical = set()
  for spec in data.info.features:
    if spec.name == data.info.entity_feature or _is_large(spec):
      continue
    values = feature_of_events(data, spec.name)
    if spec.kind == 'multi_hot':
      for row in range(1, spec.num_rows):
        columns[f'{spec.name}={row}'] = np.any(values == row, axis=1)
      continue
    if spec.kind == 'categorical':
      categorical.add(spec.name)
      values = np.where(values < 0, np.nan, values)
    columns[spec.name] = values
  columns |= _rates(data, settings)
  return Columns(
      values=np.stack(
          [np.asarray(column, np.float32) for column in columns.values()], 1
      ),
      names=list(columns),
      is_categorical=np.asarray([name in categorical for name in columns]),
  )


def _is_large(spec: types.FeatureSpec) -> bool:
  limit = MAX_INDICATORS if spec.kind == 'multi_hot' else MAX_CATEGORIES
  return spec.kind != 'numeric' and spec.num_rows > limit


def is_crossed(spec: types.FeatureSpec) -> bool:
  """Tells whether entities may have a taste for single values of a feature."""
  return (
      spec.owner != 'entity'
      and spec.kind in ('categorical', 'multi_hot')
      and spec.num_rows <= MAX_CROSSED
  )


def _rates(
    data: pipeline.Dataset, settings: RateSettings
) -> dict[str, np.ndarray]:
  """Returns the rates and how many events each is of, by column."""
  table, info = data.table, data.info
  times, labels = table.timestamps, table.labels
  cutoffs = served_rows.refresh_times(data) if settings.at_refresh else times
  owners = dataset.event_owners(data.table)
  everything = rates.past_counts(np.zeros_like(times), times, labels, cutoffs)
  prior = everything.smoothed(0.5, 1.0)
  columns = {}

  def add(name, values, prior):
    rate, total = rates.past_rates(
        values, times, labels, cutoffs, prior=prior, strength=settings.strength
    )
    columns[f'rate of {name}'] = rate
    columns[f'events of {name}'] = np.log1p(total)
    return rate

  for spec in info.features:
    is_entity = spec.name == info.entity_feature
    is_item = spec.name == info.item_feature
    has_many = _is_large(spec) or spec.kind == 'multi_hot' or is_item
    if has_many and not is_entity:
      add(spec.name, feature_of_events(data, spec.name), prior)
  if settings.of_entities:
    own = add(info.entity_feature, owners, prior)
    for spec in filter(is_crossed, info.features):
      values = feature_of_events(data, spec.name)
      crossed = rates.cross(owners, values, spec.num_rows)
      add(f'{info.entity_feature} with {spec.name}', crossed, own)
  return columns
