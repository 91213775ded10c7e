"""Reads a schema from TOML and refuses what it does not know."""

import dataclasses
import difflib
import math
import pathlib
import tomllib
from typing import Any
import zoneinfo

import numpy as np

from limaml_jax import errors
from limaml_jax.data.log import schema as schema_lib

_CHOICES = {
    'format': schema_lib.FORMATS,
    'timestamp_unit': schema_lib.TIMESTAMP_UNITS,
    'valid_from_unit': ('', *schema_lib.TIMESTAMP_UNITS),
    'duplicates': schema_lib.DUPLICATES,
    'owner': schema_lib.OWNERS,
    'kind': schema_lib.KINDS,
    'role': schema_lib.ROLES,
    'source': schema_lib.SOURCES,
    'transform': schema_lib.TRANSFORMS,
}


def load(path: str | pathlib.Path) -> schema_lib.Schema:
  """Returns the schema in the TOML file at `path`.

  Raises:
    InputError: if the file is missing, torn, or says something unknown,
      incomplete or contradictory.
  """
  path = pathlib.Path(path)
  try:
    raw = tomllib.loads(path.read_text(encoding='utf-8'))
  except (OSError, UnicodeDecodeError) as error:
    reason = getattr(error, 'strerror', None) or 'not UTF-8 text'
    raise errors.InputError(
        f'{path}: cannot be read ({reason}); give the path of a schema'
    ) from error
  except tomllib.TOMLDecodeError as error:
    raise errors.InputError(
        f'{path}: not TOML: {error}; mend that line'
    ) from error
  schema = _parse_schema(raw, str(path))
  _check_interactions(schema)
  _check_entities(schema)
  for index, feature in enumerate(schema.features):
    _check_feature(schema, feature, f'{path}: features[{index}]')
  _check_names(schema)
  return schema


def nearest(word: str, known: list[str]) -> str:
  """Returns a remark that names the known word most like `word`, if any."""
  matches = difflib.get_close_matches(word, known, n=1)
  return f'did you mean {matches[0]!r}?' if matches else f'known: {known}'


def _parse_schema(raw: dict[str, Any], path: str) -> schema_lib.Schema:
  tables = {
      'interactions': lambda value, place: _record(
          schema_lib.Interactions, value, place
      ),
      'entities': lambda value, place: {
          name: _record(
              schema_lib.Entity, entity, f'{place}.{name}', _SIDE_TABLE
          )
          for name, entity in _typed(value, dict, place).items()
      },
      'item': lambda value, place: _record(
          schema_lib.Item, value, place, _SIDE_TABLE
      ),
      'features': lambda value, place: tuple(
          _record(schema_lib.Feature, feature, f'{place}[{index}]')
          for index, feature in enumerate(_typed(value, list, place))
      ),
  }
  if 'path' in raw:
    raise errors.InputError(f"{path}: unknown key 'path'; remove it")
  schema = _record(schema_lib.Schema, raw, path, tables, root=True)
  return dataclasses.replace(schema, path=path)


def _record(cls, raw, place, nested=None, *, root=False):
  """Builds dataclass `cls` from a TOML table, key by key."""
  raw = _typed(raw, dict, place)
  fields = {field.name: field for field in dataclasses.fields(cls)}
  values = {}
  for key, value in raw.items():
    where = f'{place}: {key}' if root else f'{place}.{key}'
    if key not in fields:
      known = sorted(set(fields) - {'path'})
      raise errors.InputError(f'{where}: unknown key; {nearest(key, known)}')
    if nested and key in nested:
      values[key] = nested[key](value, where)
    else:
      values[key] = _value(fields[key].type, value, where)
      if key in _CHOICES and values[key] not in _CHOICES[key]:
        raise errors.InputError(
            f'{where}: {value!r} is not one of'
            f' {[choice for choice in _CHOICES[key] if choice]}'
        )
  for name, field in fields.items():
    has_default = (
        field.default is not dataclasses.MISSING
        or field.default_factory is not dataclasses.MISSING
    )
    if name not in values and not has_default:
      raise errors.InputError(f'{place}: key {name!r} is missing; add it')
  return cls(**values)


_SIDE_TABLE = {
    'side_table': lambda value, place: _record(
        schema_lib.SideTable, value, place
    )
}


def _typed(value, kind, place):
  names = {dict: 'a table', list: 'a list', str: 'text', int: 'an integer'}
  if not isinstance(value, kind) or isinstance(value, bool):
    raise errors.InputError(
        f'{place}: is {value!r}, expected {names[kind]}'
    )
  return value


def _value(kind, value, place):
  """Checks a plain value against the annotation of its field."""
  if kind == tuple[str, ...]:
    texts = [_typed(text, str, place) for text in _typed(value, list, place)]
    if not texts and place.endswith('files'):
      raise errors.InputError(f'{place}: is empty; name at least one file')
    return tuple(texts)
  if kind == tuple[float, ...]:
    return tuple(_number(part, place) for part in _typed(value, list, place))
  if kind == float | None:
    return _number(value, place)
  return _typed(value, kind, place)


def _number(value, place):
  if isinstance(value, bool) or not isinstance(value, int | float):
    raise errors.InputError(f'{place}: is {value!r}, expected a number')
  if not math.isfinite(value):
    raise errors.InputError(f'{place}: is {value!r}, expected a finite number')
  return float(value)


def _check_interactions(schema):
  interactions = schema.interactions
  place = f'{schema.path}: interactions.timestamp_zone'
  zone = interactions.timestamp_zone
  if zone != 'UTC' and interactions.timestamp_unit != 'iso':
    raise errors.InputError(
        f"{place}: is for timestamp_unit = 'iso' only, as numbers count from"
        ' 1970 UTC; remove it'
    )
  zones = sorted(zoneinfo.available_timezones())
  if zone != 'UTC' and zone not in zones:
    matches = difflib.get_close_matches(zone, zones, n=1)
    remark = (
        f'did you mean {matches[0]!r}?' if matches
        else "give a name such as 'Europe/Berlin'"
    )
    raise errors.InputError(f'{place}: unknown time zone {zone!r}; {remark}')


def _check_entities(schema):
  if not schema.entities:
    raise errors.InputError(
        f'{schema.path}: entities: is empty; add [entities.user] with its key'
    )
  owners = {f'entities.{name}': e for name, e in schema.entities.items()}
  for place, owner in (owners | {'item': schema.item}).items():
    side_table = owner.side_table
    if side_table and side_table.valid_from_unit and not side_table.valid_from:
      raise errors.InputError(
          f'{schema.path}: {place}.side_table.valid_from_unit: there is no'
          ' valid_from; name the column of that time, or remove the unit'
      )


def _check_feature(schema, feature, place):
  """Refuses contradictions inside one feature."""
  place = f'{place} ({feature.name})'
  if bool(feature.column) == bool(feature.expression):
    raise errors.InputError(f'{place}: give either column or expression')
  if feature.kind == 'multi_hot' and feature.max_values < 1:
    raise errors.InputError(f'{place}: max_values: multi_hot needs 1 or more')
  if feature.kind == 'multi_hot' and not feature.separator:
    raise errors.InputError(f'{place}: separator: is empty; give the text'
                            ' that stands between two values')
  if feature.kind != 'numeric' and (feature.fill is not None
                                    or feature.transform):
    raise errors.InputError(f'{place}: fill and transform are for numeric')
  _check_limits(feature, place)
  _check_buckets(feature, place)
  if feature.source and feature.owner == 'entity':
    raise errors.InputError(
        f"{place}: source: an entity's feature comes from its side table;"
        " a column of the log is owner 'context'"
    )
  if feature.owner == 'item' and not feature.in_log:
    if schema.item.side_table is None:
      raise errors.InputError(
          f"{place}: there is no [item.side_table]; add it or source = 'log'"
      )
  if feature.owner == 'entity':
    _check_owner(schema, feature, place)
  elif feature.entity:
    raise errors.InputError(f"{place}: entity: is for owner 'entity' only")


def _check_limits(feature, place):
  limits = (feature.minimum, feature.maximum)
  if limits == (None, None):
    return
  if not feature.is_number:
    raise errors.InputError(
        f'{place}: minimum and maximum are for numeric and bucketized; remove'
        ' them'
    )
  if None not in limits and feature.minimum > feature.maximum:
    raise errors.InputError(
        f'{place}: minimum: {feature.minimum} is above the maximum'
        f' {feature.maximum}; swap them'
    )


def _check_buckets(feature, place):
  is_bucketized = feature.kind == 'bucketized'
  if not is_bucketized and (feature.boundaries or feature.num_buckets):
    raise errors.InputError(
        f'{place}: boundaries and num_buckets are for bucketized; remove them'
    )
  if is_bucketized and bool(feature.boundaries) == bool(feature.num_buckets):
    raise errors.InputError(
        f'{place}: bucketized needs either boundaries or num_buckets; give one'
    )
  if is_bucketized and not feature.boundaries and feature.num_buckets < 2:
    raise errors.InputError(
        f'{place}: num_buckets: is {feature.num_buckets}; give 2 or more'
    )
  if np.any(np.diff(np.asarray(feature.boundaries, np.float32)) <= 0):
    raise errors.InputError(
        f'{place}: boundaries: do not ascend in 32 bits; sort them, and leave'
        ' out equal ones'
    )
  if feature.hash_buckets < 0 or feature.hash_buckets and feature.is_number:
    raise errors.InputError(
        f'{place}: hash_buckets: is {feature.hash_buckets}; give 1 or more to'
        ' a categorical or multi_hot feature, or remove it'
    )


def _check_owner(schema, feature, place):
  entity = feature.entity
  if not entity and len(schema.entities) > 1:
    raise errors.InputError(
        f'{place}: key entity is missing; one of {sorted(schema.entities)}'
    )
  entity = entity or next(iter(schema.entities))
  if entity not in schema.entities:
    raise errors.InputError(
        f'{place}: entity: unknown {entity!r};'
        f' {nearest(entity, sorted(schema.entities))}'
    )
  if schema.entities[entity].side_table is None:
    raise errors.InputError(
        f'{place}: there is no [entities.{entity}.side_table]; add it, or make'
        " it owner 'context' if it is a column of the log"
    )


def _check_names(schema):
  names = [entity.key for entity in schema.entities.values()]
  names += [schema.interactions.item]
  names += [feature.name for feature in schema.features]
  folded = [name.casefold() for name in names]  # SQL ignores case.
  for name in names:
    if folded.count(name.casefold()) > 1:
      raise errors.InputError(
          f'{schema.path}: features: {name!r} is there twice (the keys of'
          ' entities and item are features by themselves); rename one'
      )
