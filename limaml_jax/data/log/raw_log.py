"""Raw log: the log and side tables of a schema, opened and found valid."""

from collections.abc import Callable
import dataclasses
import logging
import pathlib
from typing import NamedTuple

import duckdb

from limaml_jax import errors
from limaml_jax.data.log import event_time
from limaml_jax.data.log import outcomes
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import schema_file
from limaml_jax.data.log import sources
from limaml_jax.data.log import tables
from limaml_jax.data.log import validation

_LOGGER = logging.getLogger(__name__)

# Between the elements of a list column once it is a text; no value holds it.
LIST_SEPARATOR = '\x1f'


class RawLog(NamedTuple):
  """Opened sources.

  Attributes:
    events: the log.
    time: SQL for the microseconds since 1970 of an event.
    side_tables: of owners 'entity' and 'item', where they have one.
    features: those of the schema that bear on the adapted entity type.
  """

  events: tables.Table
  time: str
  side_tables: dict[str, tables.Table]
  features: tuple[schema_lib.Feature, ...]

  def table_of(self, feature: schema_lib.Feature) -> tables.Table:
    """Returns the table that a feature's values stand in."""
    if feature.in_log:
      return self.events
    return self.side_tables[feature.owner]

  def column_of(self, feature: schema_lib.Feature) -> str:
    """Returns the column that holds a feature's values."""
    if feature.column:
      return feature.column
    return self.table_of(feature).computed[feature.expression]


def open_log(
    connection: duckdb.DuckDBPyConnection,
    schema: schema_lib.Schema,
    data_dir: str | pathlib.Path,
    *,
    task_entity: str,
    on_table: Callable[[int, int], None] = lambda done, total: None,
) -> RawLog:
  """Opens and validates everything that the schema names.

  Args:
    connection: DuckDB, which receives tables events, entity and item.
    schema: says what is where.
    data_dir: that its files are relative to.
    task_entity: entity type that is adapted.
    on_table: told how many of how many tables are done.

  Returns:
    The opened tables.

  Raises:
    InputError: for the first thing that is wrong.
  """
  entity = find_entity(schema, task_entity)
  features = _features_of(schema, task_entity)
  on_table(0, 3)
  events = _open_events(connection, schema, data_dir, entity, features)
  on_table(1, 3)
  side_tables = {}
  for index, (owner, source) in enumerate((
      ('entity', entity.side_table), ('item', schema.item.side_table),
  )):
    if source:
      side_tables[owner] = _open_side_table(
          connection, schema, data_dir, owner, source,
          [f for f in features if f.owner == owner and not f.in_log],
      )
    on_table(index + 2, 3)
  log = RawLog(
      events=events,
      time=event_time.microseconds(schema.interactions),
      features=features,
      side_tables=side_tables,
  )
  _validate(connection, schema, log, entity)
  return log._replace(
      features=tuple(
          _join_lists(connection, log, feature) for feature in features
      )
  )


def find_entity(
    schema: schema_lib.Schema, task_entity: str
) -> schema_lib.Entity:
  """Returns the entity of a type.

  Raises:
    InputError: if the schema has no such type.
  """
  if task_entity not in schema.entities:
    raise errors.InputError(
        f'{schema.path}: no [entities.{task_entity}] for data.task_entity;'
        f' {schema_file.nearest(task_entity, sorted(schema.entities))}'
    )
  return schema.entities[task_entity]


def _features_of(schema, task_entity):
  kept = []
  for feature in schema.features:
    owner = feature.entity or next(iter(schema.entities))
    if feature.owner == 'entity' and owner != task_entity:
      _LOGGER.info(
          'Feature %r belongs to %r, not to the adapted %r: left out',
          feature.name, owner, task_entity,
      )
    else:
      kept.append(feature)
  return tuple(kept)


def _join_lists(connection, log, feature):
  """Gives a feature whose values are lists the separator that joins them."""
  kinds = {
      row[0]: row[1] for row in connection.execute(
          f'DESCRIBE {tables.quote(log.table_of(feature).name)}'
      ).fetchall()
  }
  if kinds[log.column_of(feature)].endswith('[]'):
    return dataclasses.replace(feature, separator=LIST_SEPARATOR)
  return feature


def _wanted(schema, features):
  """Returns columns and formulas of features, with the place of each."""
  columns, formulas = {}, {}
  for feature in features:
    place = f'{schema.path}: feature {feature.name!r}'
    if feature.column:
      columns[feature.column] = place
    else:
      formulas[feature.expression] = place
  return columns, formulas


def _open_events(connection, schema, data_dir, entity, features):
  interactions = schema.interactions
  place = f'{schema.path}: interactions'
  in_log = [feature for feature in features if feature.in_log]
  columns, formulas = _wanted(schema, in_log)
  formulas[interactions.label] = f'{place}.label'
  columns[interactions.timestamp] = f'{place}.timestamp'
  columns[interactions.item] = f'{place}.item'
  columns[entity.key] = f'{schema.path}: entities key'
  outcomes.check_features(connection, schema, in_log)
  table = sources.open_table(
      connection, 'events', interactions, data_dir,
      columns=columns, formulas=formulas,
  )
  outcomes.check_columns(schema, table)
  return table


def _open_side_table(connection, schema, data_dir, owner, source, features):
  columns, formulas = _wanted(schema, features)
  columns[source.key] = f'{schema.path}: side_table.key'
  table = sources.open_table(
      connection, owner, source, data_dir, columns=columns, formulas=formulas
  )
  validation.check_numbers(connection, table)
  validation.check_key(connection, table, source.key)
  validation.check_unique(connection, table, source.key)
  return table


def _validate(connection, schema, log, entity):
  interactions = schema.interactions
  events = log.events
  (count,) = connection.execute('SELECT count(*) FROM events').fetchone()
  if not count:
    raise errors.InputError(
        f'{events.files[0]}: has no rows; expected at least one event'
    )
  for key in (entity.key, interactions.item):
    validation.check_key(connection, events, key)
  event_time.check(connection, events, interactions)
  validation.check_numbers(connection, events)
  validation.check_label(connection, events, interactions.label)
  if interactions.duplicates == 'error':
    validation.check_events(
        connection, events, entity.key, interactions.item, log.time
    )
  for feature in log.features:
    if feature.kind == 'numeric':
      validation.check_numeric(
          connection, log.table_of(feature), feature, log.column_of(feature)
      )
