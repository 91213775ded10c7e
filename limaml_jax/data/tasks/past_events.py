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
from limaml_jax.data.log import tables
from limaml_jax.data.log import values
from limaml_jax.data.tasks.ordered_events import ENTITY
from limaml_jax.data.tasks.ordered_events import ITEM
from limaml_jax.data.tasks.ordered_events import LABEL
from limaml_jax.data.tasks.ordered_events import TIME
from limaml_jax.data.tasks.ordered_events import feature_column

_COUNTED, _ONES, _PERIOD = '__counted', '__counted_ones', '__period'
_MICROSECONDS_PER_PERIOD = 3600 * 1000000
# Of entities: the key, and the time.
HIDDEN_COLUMNS = ('__hidden_of', '__hidden_from')
_EMPTY = ('', values.LIST_SEPARATOR)


class Past(NamedTuple):
  """A past feature, and the columns of its keys.

  Attributes:
    feature: of kind past_rate or past_count.
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
  label: tables.Column = rows[LABEL]
  counted = counted.cast('int64')
  rows = rows.mutate(**{
      _COUNTED: counted,
      _ONES: counted * label.cast('int64'),
      _PERIOD: rows[TIME] // _MICROSECONDS_PER_PERIOD,
  })
  prior = None
  if any(one.feature.kind == 'past_rate' for one in past):
    rows, prior = _with_prior(rows)
  found = {
      feature_column(one.feature): _value(rows, one, prior) for one in past
  }
  return rows.select(*keep, **found)


def _value(rows, one, prior):
  number, ones = _before(rows, one.keys)
  known = ibis.literal(True)
  for key in one.keys:
    known &= rows[key].notnull() & ~rows[key].isin(_EMPTY)
  if one.feature.kind == 'past_count':
    return ibis.ifelse(known, number, 0).cast('float64')
  weight = ibis.literal(one.feature.prior_rows, 'float64')
  # As doubles, lest an engine count in decimals.
  rate = (ones.cast('float64') + weight * rows[prior]) / (
      number.cast('float64') + weight
  )
  return ibis.ifelse(known & (number > 0), rate, rows[prior])


def _before(rows, keys):
  """Counts the earlier events alike in `keys`, and those of label 1.

  They are all but those as late or later: a frame that ends with an event's
  peers, which engines sum in one pass.
  """
  alike = ibis.window(group_by=keys)
  rest = ibis.range_window(
      group_by=keys, order_by=ibis.desc(TIME), preceding=None, following=0
  )
  total = lambda column: rows[column].sum()
  return tuple(
      total(column).over(alike) - total(column).over(rest)
      for column in (_COUNTED, _ONES)
  )


def _with_prior(rows):
  """Adds the mean label of all earlier events, NULL where there is none.

  Period by period, so that no engine has to hold the log in one place.
  """
  totals = rows.group_by(of=_PERIOD).agg(
      number=rows[_COUNTED].sum(), ones=rows[_ONES].sum()
  )
  window = ibis.window(order_by='of', preceding=(None, 1))
  before = lambda column: totals[column].sum().over(window).fill_null(0)
  periods = totals.select(
      __of=totals['of'], __number=before('number'), __ones=before('ones')
  )
  number, ones = _before(rows, [_PERIOD])
  rows = rows.mutate(__number_within=number, __ones_within=ones)
  rows = rows.left_join(periods, [rows[_PERIOD] == periods['__of']])
  number = (rows['__number'] + rows['__number_within']).nullif(0)
  ones = rows['__ones'] + rows['__ones_within']
  prior = ones.cast('float64') / number.cast('float64')
  return rows.mutate(__prior=prior), '__prior'
