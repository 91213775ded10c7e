"""Past events: features that count what was earlier, and how it went.

Written once for all engines: Ibis expressions. An event sees those of a
strictly smaller time, of all entities; not itself, and not what is as late.
"""

from collections.abc import Iterable
from collections.abc import Sequence
from typing import NamedTuple

import ibis
import ibis.expr.types as ir

from limaml_jax import errors
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import values
from limaml_jax.data.tasks import past_counts
from limaml_jax.data.tasks.ordered_events import ENTITY
from limaml_jax.data.tasks.ordered_events import ITEM
from limaml_jax.data.tasks.ordered_events import TIME
from limaml_jax.data.tasks.ordered_events import feature_column

_MICROSECONDS_PER_HOUR = 3600 * 1000000
# Of entities: the key, and the time.
HIDDEN_COLUMNS = ('__hidden_of', '__hidden_from')
_EMPTY = ('', values.LIST_SEPARATOR)


class Past(NamedTuple):
  """A past feature, and the columns of its keys.

  Attributes:
    feature: of one of the past kinds.
    keys: columns that its events are alike in.
  """

  feature: schema_lib.Feature
  keys: tuple[str, ...]


def resolve(
    schema: schema_lib.Schema,
    entity: schema_lib.Entity,
    features: Sequence[schema_lib.Feature],
) -> tuple[tuple[Past, ...], tuple[schema_lib.Feature, ...]]:
  """Finds the columns of past features.

  Args:
    schema: that they are of.
    entity: that is adapted.
    features: that bear on it.

  Returns:
    The past features, and features to be read of the log for them alone:
    columns that they name and no other feature has.

  Raises:
    InputError: if one names a feature of an entity that is not adapted.
  """
  columns = {entity.key: ENTITY, schema.interactions.item: ITEM}
  columns |= {f.name: feature_column(f) for f in features}
  absent = {feature.name for feature in schema.features} - columns.keys()
  found, hidden = [], []
  for feature in features:
    if not feature.is_past:
      continue
    for name in feature.of:
      if name in absent:
        raise errors.InputError(
            f'{schema.path}: feature {feature.name!r}: of: {name!r} is that of'
            ' an entity that is not adapted; remove it'
        )
      if name not in columns:
        hidden.append(_hidden(feature, name))
        columns[name] = feature_column(hidden[-1])
    keys = tuple(columns[name] for name in feature.of)
    found.append(Past(feature, keys))
  return tuple(found), tuple(hidden)


def _hidden(feature, name):
  return schema_lib.Feature(
      name=f'{feature.name}.of.{name}',
      owner='context',
      kind='categorical',
      role='global',
      column=name,
  )


def wanted(
    past: Iterable[Past], features: Iterable[schema_lib.Feature]
) -> list[schema_lib.Feature]:
  """Returns those of the features whose values past features need."""
  keys = {key for one in past for key in one.keys}
  return [feature for feature in features if feature_column(feature) in keys]


def mark_hidden(rows: ir.Table, hidden: ir.Table) -> ir.Table:
  """Adds from when on the events of each event's entity are hidden.

  Args:
    rows: events.
    hidden: HIDDEN_COLUMNS, the time in microseconds.
  """
  of, _ = HIDDEN_COLUMNS
  return rows.left_join(hidden, [rows[ENTITY] == hidden[of]]).drop(of)


def add(
    rows: ir.Table, past: Sequence[Past], *, keep: Sequence[str]
) -> ir.Table:
  """Adds the column of each past feature.

  Args:
    rows: events, with the keys of past features; those marked as hidden count
      for none.
    past: features to add.
    keep: other columns to return.
  """
  _, hidden_from = HIDDEN_COLUMNS
  counted = ibis.literal(True)
  if hidden_from in rows.columns:
    counted = rows[TIME] < rows[hidden_from]
  marked = past_counts.mark(rows, counted)
  rows, counts = past_counts.add(
      marked, [_group(one) for one in past if one.feature.kind != 'past_age']
  )
  rows, latest = past_counts.add_latest(
      rows, [one.keys for one in past if one.feature.kind == 'past_age']
  )
  prior = None
  if any(one.feature.kind == 'past_rate' for one in past):
    rows, prior = past_counts.add_prior(rows, marked)
  found = {}
  for one in past:
    if one.feature.kind == 'past_age':
      value = _age(rows, one, latest[one.keys])
    else:
      value = _value(rows, one, counts[_group(one)], prior)
    found[feature_column(one.feature)] = value
  return rows.select(*keep, **found)


def _group(one):
  hours = one.feature.window_hours or 0
  return past_counts.Group(one.keys, round(hours * _MICROSECONDS_PER_HOUR))


def _known(rows, keys):
  """Says whether an event has a value in each of the columns."""
  known = ibis.literal(True)
  for key in keys:
    known &= rows[key].notnull() & ~rows[key].isin(_EMPTY)
  return known


def _age(rows, one, latest):
  # Not whole hours: microseconds, divided as doubles.
  age = (rows[TIME] - rows[latest]).cast('float64') / float(
      _MICROSECONDS_PER_HOUR
  )
  return ibis.ifelse(_known(rows, one.keys), age, None)


def _value(rows, one, counts, prior):
  number, ones = rows[counts.number], rows[counts.ones]
  known = _known(rows, one.keys)
  if one.feature.kind == 'past_count':
    return ibis.ifelse(known, number, 0).cast('float64')
  weight = ibis.literal(one.feature.prior_rows, 'float64')
  # As doubles, lest an engine count in decimals.
  rate = (ones.cast('float64') + weight * rows[prior]) / (
      number.cast('float64') + weight
  )
  return ibis.ifelse(known & (number > 0), rate, rows[prior])
