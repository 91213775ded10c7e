"""Values of features, as every engine reads them from an opened table."""

import ibis

from limaml_jax.data.log import checks
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import tables

# Before each element of a list once it is a text; no value holds it.
LIST_SEPARATOR = '\x1f'
_LARGEST_WHOLE = 2.0**53  # Beyond it a float leaves out whole numbers.


def of_feature(
    value: tables.Column, feature: schema_lib.Feature
) -> tables.Column:
  """Returns text, or float64 if the feature is a number.

  A number is filled, and not yet transformed; a list becomes one text.
  """
  if feature.is_number:
    number = checks.to_number(value)
    return number if feature.fill is None else number.fill_null(feature.fill)
  if value.type().is_array():
    texts = value.map(lambda element: as_text(element))
    return ibis.literal(LIST_SEPARATOR) + texts.join(LIST_SEPARATOR)
  return as_text(value)


def as_text(value: tables.Column) -> tables.Column:
  """Returns a value as text; a whole number is spelled without a fraction."""
  if not value.type().is_floating():
    return value.cast('string')
  is_whole = (value == value.floor()) & (value.abs() < _LARGEST_WHOLE)
  whole = ibis.ifelse(is_whole, value, ibis.null('float64')).cast('int64')
  return ibis.coalesce(whole.cast('string'), value.cast('string'))
