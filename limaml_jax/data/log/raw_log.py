"""Raw log: the log and side tables of a schema, opened and judged by row."""

from collections.abc import Sequence
import logging
import pathlib

import ibis.expr.types as ir

from limaml_jax import errors
from limaml_jax.data.log import checks
from limaml_jax.data.log import engine as engine_lib
from limaml_jax.data.log import event_time
from limaml_jax.data.log import opened as opened_lib
from limaml_jax.data.log import outcomes
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import sources
from limaml_jax.data.log import spelling
from limaml_jax.data.log import tables

_LOGGER = logging.getLogger(__name__)

# Microseconds since 1970: of an event, or from when a side table's row holds.
TIME = '__time'


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
        f' {spelling.nearest(task_entity, sorted(schema.entities))}'
    )
  return schema.entities[task_entity]


def side_sources(
    schema: schema_lib.Schema, entity: schema_lib.Entity
) -> dict[str, schema_lib.SideTable]:
  """Returns the side tables by owner, 'entity' and 'item', that there are."""
  found = {'entity': entity.side_table, 'item': schema.item.side_table}
  return {owner: source for owner, source in found.items() if source}


def features_of(
    schema: schema_lib.Schema, task_entity: str
) -> tuple[schema_lib.Feature, ...]:
  """Returns the features that bear on the adapted entity type."""
  kept = []
  for feature in schema.features:
    owner = feature.entity or next(iter(schema.entities))
    if feature.owner == 'entity' and owner != task_entity:
      _LOGGER.info(
          'Feature %r belongs to %r, not to the adapted %r: left out',
          feature.name, owner, task_entity,
      )  # fmt: skip
    else:
      kept.append(feature)
  return tuple(kept)


def in_side_table(
    features: Sequence[schema_lib.Feature], owner: str
) -> list[schema_lib.Feature]:
  """Returns those of the features that stand in an owner's side table."""
  return [f for f in features if f.owner == owner and not f.in_log]


def open_events(
    engine: engine_lib.Engine,
    schema: schema_lib.Schema,
    entity: schema_lib.Entity,
    features: Sequence[schema_lib.Feature],
    paths: Sequence[pathlib.Path],
    *,
    max_reject_fraction: float = 0.0,
) -> opened_lib.Opened:
  """Opens and checks files of the log.

  Args:
    engine: that reads them.
    schema: says what is where.
    entity: that is adapted.
    features: that stand in the log.
    paths: of the files.
    max_reject_fraction: of their rows.

  Raises:
    InputError: for what is wrong with the schema or the files, or with more
      rows than may be.
  """
  interactions = schema.interactions
  outcomes.check_features(schema, features)
  columns, formulas = _wanted(schema, features)
  place = f'{schema.path}: interactions'
  for key in ('label', 'target', 'weight'):
    if formula := getattr(interactions, key):
      formulas[formula] = f'{place}.{key}'
  columns[interactions.timestamp] = f'{place}.timestamp'
  columns[interactions.item] = f'{place}.item'
  columns[entity.key] = f'{schema.path}: entities key'
  table = engine.open_table(
      'events',
      interactions,
      paths,
      columns=columns,
      formulas=formulas,
  )
  outcomes.check_columns(schema, table)
  rows = _with_time(
      engine,
      engine.backend.table('events'),
      table,
      interactions.timestamp,
      unit=interactions.timestamp_unit,
      zone=interactions.timestamp_zone,
      key='timestamp_unit',
  )
  opened = opened_lib.judge(
      table,
      rows,
      _event_checks(interactions, entity, features, table),
      unique=_unique_events(interactions, entity),
      max_reject_fraction=max_reject_fraction,
  )
  if not opened.num_rows:
    raise errors.InputError(
        f'{table.files[0]}: has no rows; expected at least one event'
    )
  return opened


def _event_checks(interactions, entity, features, table):
  found = [*checks.of_key(entity.key), *checks.of_key(interactions.item)]
  found += checks.of_time(
      TIME,
      interactions.timestamp,
      interactions.timestamp_unit,
      'timestamp_unit',
  )
  found += checks.of_numbers(table)
  for formula, check in (
      (interactions.label, checks.of_label),
      (interactions.target, checks.of_target),
      (interactions.weight, checks.of_weight),
  ):
    if formula:
      found.append(check(table.computed[formula], formula))
  return found + _feature_checks(features, table)


def _feature_checks(features, table):
  return [
      check
      for feature in features
      if feature.is_number
      for check in checks.of_feature(column_of(table, feature), feature)
  ]


def _unique_events(interactions, entity):
  if interactions.duplicates != 'error':
    return []
  return [
      checks.Unique(
          columns=(entity.key, interactions.item, TIME),
          field=(
              f'columns {entity.key!r} and {interactions.item!r} and the time'
          ),
          wanted='one row for each',
          advice="remove one, or set duplicates = 'first' or 'keep'",
      )
  ]


def open_side_table(
    engine: engine_lib.Engine,
    schema: schema_lib.Schema,
    owner: str,
    source: schema_lib.SideTable,
    features: Sequence[schema_lib.Feature],
    paths: Sequence[pathlib.Path],
    *,
    max_reject_fraction: float = 0.0,
) -> opened_lib.Opened:
  """Opens and checks a side table, as `open_events` does the log.

  Args:
    engine: that reads it.
    schema: says what is where.
    owner: 'entity' or 'item'; names the table.
    source: of its rows.
    features: that stand in it.
    paths: of its files.
    max_reject_fraction: of its rows.
  """
  columns, formulas = _wanted(schema, features)
  columns[source.key] = f'{schema.path}: side_table.key'
  if source.valid_from:
    columns[source.valid_from] = f'{schema.path}: side_table.valid_from'
  table = engine.open_table(
      owner, source, paths, columns=columns, formulas=formulas
  )
  rows = engine.backend.table(owner)
  found = [*checks.of_numbers(table), *checks.of_key(source.key)]
  unique = (source.key,)
  if source.valid_from:
    interactions = schema.interactions
    unit = source.valid_from_unit or interactions.timestamp_unit
    rows = _with_time(
        engine, rows, table, source.valid_from,
        unit=unit, zone=interactions.timestamp_zone, key='valid_from_unit',
    )  # fmt: skip
    found += checks.of_time(TIME, source.valid_from, unit, 'valid_from_unit')
    unique = (source.key, TIME)
  return opened_lib.judge(
      table,
      rows,
      found + _feature_checks(features, table),
      unique=[
          checks.Unique(
              columns=unique,
              field=f'column {source.key!r}',
              wanted='one row per key' + ' and time' * bool(source.valid_from),
              advice='remove one',
          )
      ],
      max_reject_fraction=max_reject_fraction,
  )


def _with_time(engine, rows, table, column, *, unit, zone, key) -> ir.Table:
  """Adds column TIME."""
  event_time.check_type(table, column, unit, key)
  time = event_time.microseconds(engine, rows, column, unit=unit, zone=zone)
  return rows.mutate(**{TIME: time})


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


def column_of(table: tables.Table, feature: schema_lib.Feature) -> str:
  """Returns the column of an opened table that holds a feature's values."""
  return feature.column or table.computed[feature.expression]


def find_files(
    schema: schema_lib.Schema,
    entity: schema_lib.Entity,
    data_dir: str | pathlib.Path,
) -> dict[str, list[pathlib.Path]]:
  """Returns the files of 'events', and of each side table by its owner.

  Raises:
    InputError: if a glob matches nothing, or a file is empty.
  """
  found = {'events': sources.find_files(schema.interactions.files, data_dir)}
  for owner, source in side_sources(schema, entity).items():
    found[owner] = sources.find_files(source.files, data_dir)
  return found
