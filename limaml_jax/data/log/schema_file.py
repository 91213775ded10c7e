"""Reads a schema from TOML and refuses what it does not know."""

import dataclasses
import difflib
import math
import pathlib
import tomllib
from typing import Any
import zoneinfo

from limaml_jax import errors
from limaml_jax.data.log import feature_checks
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import spelling

_PRIOR_ROWS = 20.0  # Of a past rate that says nothing of it.
# That a schema may say beside its base.
_TABLES = {'interactions', 'entities', 'item'}
_CHOICES = {
    'format': schema_lib.FORMATS,
    'timestamp_unit': schema_lib.TIMESTAMP_UNITS,
    'valid_from_unit': ('', *schema_lib.TIMESTAMP_UNITS),
    'duplicates': schema_lib.DUPLICATES,
    'owner': schema_lib.OWNERS,
    'kind': (*schema_lib.KINDS, *schema_lib.PAST_KINDS),
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
  return _load(pathlib.Path(path), ())


def _load(path, above):
  """Reads a schema; `above` are those whose base it is."""
  raw = _read(path)
  base = None
  if 'base' in raw:
    base = _load_base(path, raw, above)
  if base:
    schema = _extend(base, raw, str(path))
  else:
    schema = _parse_schema(raw, str(path))
  _check_interactions(schema)
  _check_entities(schema)
  first = len(base.features) if base else 0
  for index, feature in enumerate(schema.features[first:]):
    feature_checks.check(schema, feature, f'{path}: features[{index}]')
  if base and _TABLES & raw.keys():
    for index, feature in enumerate(base.features):
      feature_checks.check(schema, feature, f'{path}: base: features[{index}]')
  _check_names(schema)
  return schema


def _read(path):
  try:
    return tomllib.loads(path.read_text(encoding='utf-8'))
  except (OSError, UnicodeDecodeError) as error:
    reason = getattr(error, 'strerror', None) or 'not UTF-8 text'
    raise errors.InputError(
        f'{path}: cannot be read ({reason}); give the path of a schema'
    ) from error
  except tomllib.TOMLDecodeError as error:
    raise errors.InputError(
        f'{path}: not TOML: {error}; mend that line'
    ) from error


def _load_base(path, raw, above):
  """Loads the schema that another one adds to."""
  name = _typed(raw['base'], str, f'{path}: base')
  for key in raw:
    if key not in ('base', 'name', 'features', *_TABLES):
      raise errors.InputError(
          f'{path}: {key}: beside base there are name, interactions, entities,'
          ' item and features alone; remove it'
      )
  found = path.parent / name
  if not name or '\0' in name or not found.is_file():
    raise errors.InputError(
        f'{path}: base: {name!r} is no file beside it; give the path of a'
        ' schema'
    )
  above = (*above, path.resolve())
  if found.resolve() in above:
    raise errors.InputError(
        f'{path}: base: {name!r} is based on this schema; remove one of the'
        ' two'
    )
  return _load(found, above)


def _extend(base, raw, path):
  """Returns a base with other features behind its own.

  An entity type or item that is said again, or a key of the interactions,
  stands in place of the base's.
  """
  return dataclasses.replace(
      base,
      name=_typed(raw.get('name', base.name), str, f'{path}: name'),
      interactions=_change(
          base.interactions,
          raw.get('interactions', {}),
          f'{path}: interactions',
      ),
      entities=base.entities
      | _entities(raw.get('entities', {}), f'{path}: entities'),
      item=_item(raw['item'], f'{path}: item') if 'item' in raw else base.item,
      features=(
          *base.features,
          *_features(raw.get('features', []), f'{path}: features'),
      ),
      path=path,
  )


def _change(record, raw, place):
  """Returns a record with what a TOML table says of it."""
  raw = _typed(raw, dict, place)
  known = {
      name: list(value) if isinstance(value, tuple) else value
      for name, value in dataclasses.asdict(record).items()
  }
  return _record(type(record), known | raw, place)


def _parse_schema(raw: dict[str, Any], path: str) -> schema_lib.Schema:
  tables = {
      'interactions': lambda value, place: _record(
          schema_lib.Interactions, value, place
      ),
      'entities': _entities,
      'item': _item,
      'features': _features,
  }
  if 'path' in raw:
    raise errors.InputError(f"{path}: unknown key 'path'; remove it")
  schema = _record(schema_lib.Schema, raw, path, tables, root=True)
  return dataclasses.replace(schema, path=path)


def _entities(value, place):
  return {
      name: _record(schema_lib.Entity, entity, f'{place}.{name}', _SIDE_TABLE)
      for name, entity in _typed(value, dict, place).items()
  }


def _item(value, place):
  return _record(schema_lib.Item, value, place, _SIDE_TABLE)


def _features(value, place):
  return tuple(
      _feature(feature, f'{place}[{index}]')
      for index, feature in enumerate(_typed(value, list, place))
  )


def _feature(raw, place):
  """Builds a feature; whose a past one is need not be said."""
  kind = _typed(raw, dict, place).get('kind')
  if kind in schema_lib.PAST_KINDS:
    raw = {'owner': 'context', **raw}
  if kind == 'past_rate':
    raw = {'prior_rows': _PRIOR_ROWS, **raw}
  return _record(schema_lib.Feature, raw, place)


def _record(cls, raw, place, nested=None, *, root=False):
  """Builds dataclass `cls` from a TOML table, key by key."""
  raw = _typed(raw, dict, place)
  fields = {field.name: field for field in dataclasses.fields(cls)}
  values = {}
  for key, value in raw.items():
    where = f'{place}: {key}' if root else f'{place}.{key}'
    if key not in fields:
      known = sorted(set(fields) - {'path'})
      raise errors.InputError(
          f'{where}: unknown key; {spelling.nearest(key, known)}'
      )
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
        " 1970 UTC; remove it, or say timestamp_zone = 'UTC' if a base has it"
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
