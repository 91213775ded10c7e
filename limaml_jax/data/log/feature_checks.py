"""Checks of one feature of a schema, whatever the log holds."""

import dataclasses

import numpy as np

from limaml_jax import errors
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import spelling

_LEAST_HOURS = 1 / 3.6e9  # A microsecond.
_MOST_HOURS = 1_000_000  # More than a century.


def check(
    schema: schema_lib.Schema, feature: schema_lib.Feature, place: str
) -> None:
  """Refuses contradictions inside one feature.

  Args:
    schema: that it is of.
    feature: to check.
    place: of the feature in the schema, for messages.

  Raises:
    InputError: for the first one.
  """
  place = f'{place} ({feature.name})'
  if feature.is_past:
    _check_past(schema, feature, place)
    return
  if feature.of or (feature.prior_rows, feature.window_hours) != (None, None):
    raise errors.InputError(
        f'{place}: of, prior_rows and window_hours are for past_rate,'
        ' past_count and past_age; remove them'
    )
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
        f' {spelling.nearest(entity, sorted(schema.entities))}'
    )
  if schema.entities[entity].side_table is None:
    raise errors.InputError(
        f'{place}: there is no [entities.{entity}.side_table]; add it, or make'
        " it owner 'context' if it is a column of the log"
    )


def _check_past(schema, feature, place):
  plain = schema_lib.Feature(
      name=feature.name,
      owner='context',
      kind=feature.kind,
      role=feature.role,
      of=feature.of,
      prior_rows=feature.prior_rows,
      num_buckets=feature.num_buckets,
      window_hours=feature.window_hours,
  )
  for name, value in dataclasses.asdict(plain).items():
    if getattr(feature, name) != value:
      raise errors.InputError(
          f'{place}: {name}: is not for {feature.kind}, which is made of the'
          ' log; remove it'
      )
  if not feature.of:
    raise errors.InputError(
        f'{place}: of: is empty; name what its events are alike in, such as'
        f' {schema.interactions.item!r}'
    )
  _check_past_numbers(feature, place)
  known = {known.name: known for known in schema.features}
  for name in feature.of:
    _check_past_of(schema, known.get(name), name, f'{place}: of')


def _check_past_numbers(feature, place):
  prior_rows, hours = feature.prior_rows, feature.window_hours
  if feature.kind != 'past_rate' and prior_rows is not None:
    raise errors.InputError(
        f'{place}: prior_rows: is for past_rate; remove it'
    )
  if prior_rows is not None and prior_rows < 0:
    raise errors.InputError(
        f'{place}: prior_rows: is {prior_rows:g}; give 0 or more'
    )
  if feature.kind == 'past_age' and hours is not None:
    raise errors.InputError(
        f'{place}: window_hours: is for past_rate and past_count; remove it'
    )
  if hours is not None and not _LEAST_HOURS <= hours <= _MOST_HOURS:
    raise errors.InputError(
        f'{place}: window_hours: is {hours:g}; give more than 0, and at most'
        f' {_MOST_HOURS:,}'
    )
  if feature.num_buckets and feature.num_buckets < 2:
    raise errors.InputError(
        f'{place}: num_buckets: is {feature.num_buckets}; give 2 or more'
    )


def _check_past_of(schema, feature, name, place):
  """Refuses what events cannot be told to be alike in."""
  outcomes = [column.casefold() for column in schema.interactions.outcomes]
  if feature is None and name.casefold() in outcomes:
    raise errors.InputError(
        f'{place}: {name!r} is an outcome of the event, unknown when the event'
        ' is scored; remove it'
    )
  if feature is not None and feature.is_past:
    raise errors.InputError(
        f'{place}: {name!r} is made of earlier events itself; remove it'
    )
  if feature is not None and feature.is_number:
    raise errors.InputError(
        f'{place}: {name!r} is {feature.kind}; name a categorical or multi_hot'
        ' feature, or a column of the log'
    )
