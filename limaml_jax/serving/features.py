"""Features: what a request says of its rows, and what their keys tell."""

from collections.abc import Sequence
import itertools
import math

import numpy as np

from limaml_jax import cells
from limaml_jax import errors
from limaml_jax import types
from limaml_jax.bundle import columns as columns_lib
from limaml_jax.bundle import reading
from limaml_jax.serving import request as request_lib

_LARGEST = float(np.finfo(np.float32).max)


def join(
    bundle: reading.Bundle, request: request_lib.Request
) -> tuple[columns_lib.Packed, int]:
  """Returns the packed features of the rows, and how many items are unknown.

  Args:
    bundle: knows items, entities and vocabularies.
    request: of c rows.

  Raises:
    InputError: for a feature that the model does not read, or whose values do
      not fit; names it.
  """
  columns = bundle.columns
  num_rows = len(request.entity_of_row)
  packed = columns.blank(num_rows)
  unknown = 0
  if bundle.items is not None and request.candidates:
    records, unknown = bundle.items.get(request.candidates)
    _put(packed, columns.spans['item'], records)
  if bundle.entities is not None:
    records, _ = bundle.entities.get(request.entities)
    span = columns.spans['entity']
    _put(packed, span, records[request.entity_of_row])
  for name, given in request.given.items():
    column = columns.by_name.get(name)
    if column is None:
      raise errors.InputError(
          f'{name}: no such feature; there are {", ".join(columns.by_name)}'
      )
    values = _encode(bundle, column.spec, given.values)
    values = _per_row(column.spec, values, request)
    target = packed.numbers if column.is_number else packed.ids
    target[:, column.start : column.stop] = values
  return packed, unknown


def _put(packed, span, records):
  packed.ids[:, span.ids] = records['ids']
  packed.numbers[:, span.numbers] = records['numbers']


def _per_row(
    spec: types.FeatureSpec, values: np.ndarray, request: request_lib.Request
) -> np.ndarray:
  """Spreads values [n, width] over the rows, [c, width]."""
  num_rows, num_entities = len(request.entity_of_row), len(request.entities)
  # As many entities as candidates, and not one each: it depends whose it is.
  if len(values) == num_entities and spec.owner == 'entity':
    return values[request.entity_of_row]
  if len(values) in (1, num_rows):
    return values
  if len(values) == num_entities:
    return values[request.entity_of_row]
  raise errors.InputError(
      f'{spec.name}: {len(values)} values; send 1, one for each of'
      f' {num_entities} entities, or one for each of {num_rows} candidates'
  )


def _encode(
    bundle: reading.Bundle, spec: types.FeatureSpec, values: Sequence
) -> np.ndarray:
  """Returns raw values as `prepare` encodes them, [n, width]."""
  if spec.kind in ('numeric', 'bucketized'):
    numbers = _numbers(spec, values)
    if spec.kind == 'bucketized':
      return cells.bucket_rows(numbers, spec.boundaries)[:, None]
    transformed = cells.transformed(numbers, spec.transform)
    return transformed.astype(np.float32)[:, None]
  if spec.kind == 'categorical':
    tokens = [_token(spec, value) for value in values]
    return _rows(bundle, spec, tokens)[:, None]
  width = spec.max_values
  split = [
      cells.distinct_tokens(
          [
              _token(spec, v) or ''
              for v in (x if isinstance(x, list) else [x])
          ],
          width,
      )
      for x in values
  ]
  rows = iter(_rows(bundle, spec, list(itertools.chain(*split))).tolist())
  found = [
      cells.distinct_rows([next(rows) for _ in tokens], width)
      for tokens in split
  ]
  return np.asarray(found, np.int32).reshape(len(values), width)


def _rows(bundle, spec, tokens) -> np.ndarray:
  """Returns the rows of tokens; 0 for None and for one out of vocabulary."""
  texts = [token or '' for token in tokens]
  if spec.hash_buckets:
    rows = [cells.hashed_row(text, spec.hash_buckets) for text in texts]
    return np.asarray(rows, np.int32)
  table = bundle.vocabularies.get(spec.name)
  if table is None:
    return np.zeros(len(tokens), np.int32)
  rows = table.get(texts)[0]['row']
  if None in tokens:  # A vocabulary may have '', which is a category.
    rows = np.where([token is None for token in tokens], 0, rows)
  return rows


def _token(spec, value) -> str | None:
  if value is None or isinstance(value, str):
    return value
  if isinstance(value, bool):
    return str(value).lower()  # As `prepare` spells it.
  if isinstance(value, int):
    return str(value)
  raise errors.InputError(
      f'{spec.name}: {value!r:.40} is no category; send texts or integers'
  )


def _numbers(spec, values) -> np.ndarray:
  """Returns numbers, nan for an unknown one, [n] float64."""
  is_log = spec.transform == 'log1p'
  lowest = -1.0 if is_log else -_LARGEST
  numbers = np.empty(len(values))
  for i, value in enumerate(values):
    number = math.nan if value is None else value
    is_number = isinstance(number, int | float)
    # Of nan, neither is true.
    if not is_number or number > _LARGEST or number <= lowest:
      limit = ' above -1' if is_log else ''
      raise errors.InputError(
          f'{spec.name}: {value!r:.40} is no finite number{limit} of 32 bits;'
          ' send one, or nan for an unknown one'
      )
    numbers[i] = number
  return numbers
