"""Order of the log, written once for all engines: Ibis expressions.

Groups events by entity, orders them in time, leaves out repeated ones, and
joins what changes in time as it was before each event.
"""

from collections.abc import Mapping
from collections.abc import Sequence

import ibis
import ibis.expr.types as ir

from limaml_jax.data.log import checks
from limaml_jax.data.log import opened as opened_lib
from limaml_jax.data.log import raw_log
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import tables
from limaml_jax.data.log import values
from limaml_jax.data.tasks.ordered_events import ENTITY
from limaml_jax.data.tasks.ordered_events import ITEM
from limaml_jax.data.tasks.ordered_events import LABEL
from limaml_jax.data.tasks.ordered_events import TARGET
from limaml_jax.data.tasks.ordered_events import TIME
from limaml_jax.data.tasks.ordered_events import WEIGHT
from limaml_jax.data.tasks.ordered_events import feature_column

# Where the first of repeated events stood.
FILE, ROW = 'source_file', 'source_row'
_KEY, _FROM, _UNTIL = '__key', '__from', '__until'


def select(
    opened: opened_lib.Opened,
    schema: schema_lib.Schema,
    entity: schema_lib.Entity,
    features: Sequence[schema_lib.Feature],
) -> ir.Table:
  """Selects what tasks need of the accepted rows of a log, in order.

  Args:
    opened: the log.
    schema: that it was opened by.
    entity: that is adapted.
    features: that stand in the log.
  """
  return in_order(select_events(opened, schema, entity, features))


def select_events(
    opened: opened_lib.Opened,
    schema: schema_lib.Schema,
    entity: schema_lib.Entity,
    features: Sequence[schema_lib.Feature],
    *,
    keep: Sequence[str] = (),
) -> ir.Table:
  """Selects what `select` does, in no order, and columns to `keep`."""
  interactions, table = schema.interactions, opened.table
  rows = opened.accepted
  label = checks.to_number(rows[table.computed[interactions.label]])
  columns = {
      ENTITY: values.as_text(rows[entity.key]),
      TIME: rows[raw_log.TIME],
      ITEM: values.as_text(rows[interactions.item]),
      LABEL: label.cast('float32'),
  }
  if interactions.target:
    target = rows[table.computed[interactions.target]]
    columns[TARGET] = checks.to_number(target)
  if interactions.weight:
    weight = rows[table.computed[interactions.weight]]
    columns[WEIGHT] = checks.to_number(weight)
  for feature in features:
    value = rows[raw_log.column_of(table, feature)]
    columns[feature_column(feature)] = values.of_feature(value, feature)
  if interactions.duplicates != 'keep':
    file = table.file_names()[rows[tables.FILE]]
    columns |= {FILE: file, ROW: rows[tables.ROW]}
  rows = rows.select(*keep, **columns)
  if interactions.duplicates == 'first':
    rows = first_of_repeated(rows)
  return rows


def in_order(rows: ir.Table) -> ir.Table:
  """Orders events by entity, time, item, and whatever else they are."""
  names = [name for name in rows.columns if name not in (FILE, ROW)]
  # Where all of it is alike, the rows cannot be told apart.
  return rows.order_by([ibis.asc(name, nulls_first=False) for name in names])


def first_of_repeated(rows: ir.Table) -> ir.Table:
  """Keeps the first row of those alike in entity, item and time."""
  window = ibis.window(group_by=[ENTITY, TIME, ITEM], order_by=[FILE, ROW])
  numbered = rows.mutate(__number=ibis.row_number().over(window))
  return numbered.filter(numbered['__number'] == 0).drop('__number')


def num_repeated(rows: ir.Table) -> int:
  """Counts rows that are alike to another in entity, item and time."""
  keys = rows.select(ENTITY, TIME, ITEM)
  total, distinct = keys.count(), keys.distinct().count()
  return total.to_pyarrow().as_py() - distinct.to_pyarrow().as_py()


def attributes(
    opened: opened_lib.Opened,
    source: schema_lib.SideTable,
    features: Sequence[schema_lib.Feature],
) -> ir.Table:
  """Selects a side table's keys and values.

  Args:
    opened: the side table.
    source: its schema.
    features: that stand in it.
  """
  rows = opened.accepted
  columns = {_KEY: values.as_text(rows[source.key])}
  if source.valid_from:
    columns[_FROM] = rows[raw_log.TIME]
  for feature in features:
    value = rows[raw_log.column_of(opened.table, feature)]
    columns[feature_column(feature)] = values.of_feature(value, feature)
  return rows.select(**columns)


def versions(
    opened: opened_lib.Opened,
    source: schema_lib.SideTable,
    features: Sequence[schema_lib.Feature],
) -> ir.Table:
  """Selects a side table's values, and the times between which each holds.

  Args:
    opened: the side table, which has `valid_from`.
    source: its schema.
    features: that stand in it.
  """
  rows = attributes(opened, source, features)
  window = ibis.window(group_by=_KEY, order_by=_FROM)
  return rows.mutate(**{_UNTIL: rows[_FROM].lead().over(window)})


def knows_any(rows: ir.Table, key: str, side: ir.Table) -> bool:
  """Says whether any event's key is one of a side table's `versions`."""
  known = rows.semi_join(side, [rows[key] == side[_KEY]]).limit(1)
  return known.count().to_pyarrow().as_py() > 0


def join_versions(
    rows: ir.Table, versions_of: Mapping[str, ir.Table]
) -> ir.Table:
  """Joins to each event what held before it: not what begins with it.

  Args:
    rows: events.
    versions_of: column that a side table's keys refer to, ENTITY or ITEM ->
      its values from time to time.
  """
  for key, side in versions_of.items():
    holds = (side[_FROM] < rows[TIME]) & (
        side[_UNTIL].isnull() | (rows[TIME] <= side[_UNTIL])
    )
    joined = rows.left_join(side, [rows[key] == side[_KEY], holds])
    rows = joined.drop(_KEY, _FROM, _UNTIL)
  return rows


def join_attributes(
    rows: ir.Table, attributes_of: Mapping[str, ir.Table]
) -> ir.Table:
  """Joins to each event what holds for all time.

  Args:
    rows: events.
    attributes_of: column that a side table's keys refer to, ENTITY or ITEM ->
      its `attributes`, one row per key.
  """
  for key, side in attributes_of.items():
    joined = rows.left_join(side, [rows[key] == side[_KEY]])
    rows = joined.drop(_KEY)
  return rows
