"""Opens a log and its side tables as `prepare` does, but stops at no row."""

import pathlib
from typing import NamedTuple

from limaml_jax.data.engines import duckdb_engine
from limaml_jax.data.log import event_time
from limaml_jax.data.log import opened as opened_lib
from limaml_jax.data.log import raw_log
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import tables
from limaml_jax.data.tasks import ordered_events
from limaml_jax.data.tasks import past_events

LOG = 'log'


class OpenLog(NamedTuple):
  """Opened tables, each a DuckDB view, with its time if it has one.

  Attributes:
    schema: that says what they are.
    entity: that is adapted.
    opened: 'log', and side tables 'entity' and 'item' where there are any.
    types: DuckDB type of every column, by table.
    features: those that bear on the adapted entity type.
  """

  schema: schema_lib.Schema
  entity: schema_lib.Entity
  opened: dict[str, opened_lib.Opened]
  types: dict[str, dict[str, str]]
  features: tuple[schema_lib.Feature, ...]

  def table_of(self, feature: schema_lib.Feature) -> str:
    """Returns which table a feature's values stand in."""
    is_in_log = feature.in_log or feature.is_past
    return LOG if is_in_log else feature.owner

  def column_of(self, feature: schema_lib.Feature) -> str:
    """Returns the column that holds a feature's values."""
    if feature.is_past:
      return ordered_events.feature_column(feature)
    table = self.opened[self.table_of(feature)].table
    return raw_log.column_of(table, feature)

  def key_of(self, owner: str) -> str:
    """Returns the column of the log that holds the key of an owner."""
    if owner == 'entity':
      return self.entity.key
    return self.schema.interactions.item

  def side_tables(self) -> dict[str, schema_lib.SideTable]:
    """Returns the side tables that there are, by owner."""
    return raw_log.side_sources(self.schema, self.entity)


def view(name: str) -> str:
  """Returns SQL for the rows of 'log', 'entity' or 'item'."""
  return tables.quote(f'profiled_{name}')


def open_log(
    engine: duckdb_engine.DuckDbEngine,
    schema: schema_lib.Schema,
    data_dir: str | pathlib.Path,
    *,
    task_entity: str,
) -> OpenLog:
  """Opens what the schema names.

  Args:
    engine: DuckDB, which receives the tables.
    schema: says what is where.
    data_dir: that its files are relative to.
    task_entity: entity type that is adapted.

  Returns:
    The opened tables, whatever their rows are like.

  Raises:
    InputError: for a file, column or expression that is not there.
  """
  entity = raw_log.find_entity(schema, task_entity)
  features = raw_log.features_of(schema, task_entity)
  files = raw_log.find_files(schema, entity, data_dir)
  interactions = schema.interactions
  log = OpenLog(schema, entity, {}, {}, features)
  _, hidden = past_events.resolve(schema, entity, features)
  opened = raw_log.open_events(
      engine,
      schema,
      entity,
      [*(feature for feature in features if feature.in_log), *hidden],
      files['events'],
      max_reject_fraction=1.0,  # They are to be told of, all of them.
  )
  _add(log, engine, LOG, opened, interactions.timestamp,
       interactions.timestamp_unit)  # fmt: skip
  for owner, source in log.side_tables().items():
    opened = raw_log.open_side_table(
        engine,
        schema,
        owner,
        source,
        raw_log.in_side_table(features, owner),
        files[owner],
        max_reject_fraction=1.0,
    )
    unit = source.valid_from_unit or interactions.timestamp_unit
    _add(log, engine, owner, opened, source.valid_from, unit)
  return log


def _add(log, engine, name, opened, time_column, unit):
  """Makes the view of a table, its rows neither judged nor left out."""
  rows = engine.backend.table(opened.table.name)
  if time_column:
    zone = log.schema.interactions.timestamp_zone
    time = event_time.microseconds(
        engine, rows, time_column, unit=unit, zone=zone
    )
    rows = rows.mutate(**{raw_log.TIME: time})
  engine.connection.execute(
      f'CREATE VIEW {view(name)} AS {engine.backend.compile(rows)}'
  )
  described = engine.connection.execute(f'DESCRIBE {view(name)}').fetchall()
  log.opened[name] = opened
  log.types[name] = {row[0]: row[1] for row in described}
