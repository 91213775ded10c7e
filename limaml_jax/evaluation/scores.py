"""Scored test rows: what serving leaves and every metric starts from."""

from collections.abc import Sequence
import os
import pathlib
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from limaml_jax import errors

_SCHEMA = pa.schema([
    ('entity', pa.int64()),
    ('day', pa.int64()),
    ('label', pa.float32()),
    ('score', pa.float64()),
    ('support_size', pa.int64()),
    ('age_seconds', pa.int64()),
    ('status', pa.uint8()),
])


class Scores(NamedTuple):
  """Scored rows, one column per field, [n] each.

  Attributes:
    entity: index of the entity, int64.
    day: index of the cutoff that the row was scored under, int64.
    label: 0 or 1, float32.
    score: probability of label 1, float64.
    support_size: events of the entity strictly before that cutoff, not capped,
      int64.
    age_seconds: of the embedding served, int64; -1 if there was none.
    status: code of the store's read status, uint8.
  """

  entity: np.ndarray
  day: np.ndarray
  label: np.ndarray
  score: np.ndarray
  support_size: np.ndarray
  age_seconds: np.ndarray
  status: np.ndarray


def select(rows: Scores, which: np.ndarray) -> Scores:
  """Returns the rows where a mask, [n] bool, holds, or those at indices."""
  return Scores(*(column[which] for column in rows))


def refresh_groups(rows: Scores) -> np.ndarray:
  """Numbers the pairs of an entity and a refresh, [n]: one embedding each."""
  num_days = np.max(rows.day, initial=0) + 1
  return rows.entity * num_days + rows.day


def concatenate(parts: Sequence[Scores]) -> Scores:
  """Returns the rows of all parts, in order; of none, no rows."""
  columns = []
  for name in Scores._fields:
    dtype = _SCHEMA.field(name).type.to_pandas_dtype()
    arrays = [np.asarray(getattr(part, name), dtype) for part in parts]
    columns.append(np.concatenate([np.zeros(0, dtype), *arrays]))
  return Scores(*columns)


def write(path: str | os.PathLike[str], rows: Scores) -> None:
  """Writes rows to a Parquet file, whole or not at all.

  Raises:
    InputError: if a column is impossible, e.g. a score that is no probability.
  """
  path = pathlib.Path(path)
  rows = concatenate([rows])
  _check(rows, path)
  temporary = path.with_name(f'.{path.name}.{os.getpid()}')
  try:
    parquet.write_table(pa.table(list(rows), schema=_SCHEMA), temporary)
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


def read(path: str | os.PathLike[str]) -> Scores:
  """Reads what `write` wrote.

  Raises:
    InputError: if the file is absent, torn, or of other columns.
  """
  path = pathlib.Path(path)
  try:
    table = parquet.read_table(path)
  except FileNotFoundError as error:
    raise errors.InputError(
        f'{path}: no scores here; run the evaluation that writes them'
    ) from error
  except (pa.ArrowException, OSError) as error:
    raise errors.InputError(
        f'{path}: not a whole Parquet file; delete it and evaluate again'
    ) from error
  if not table.schema.equals(_SCHEMA):
    raise errors.InputError(
        f'{path}: columns are {_spell(table.schema)}; scores have '
        f'{_spell(_SCHEMA)}'
    )
  _refuse_nulls(table, path)
  rows = Scores(*(column.to_numpy() for column in table.columns))
  _check(rows, path)
  return rows


def _spell(schema: pa.Schema) -> str:
  return ', '.join(f'{field.name}:{field.type}' for field in schema)


def _refuse_nulls(table: pa.Table, path: pathlib.Path) -> None:
  for name, column in zip(table.column_names, table.columns, strict=True):
    if column.null_count:
      raise errors.InputError(
          f'{path}: column {name} has {column.null_count} empty values; '
          'delete the file and evaluate again'
      )


def _check(rows: Scores, path: pathlib.Path) -> None:
  checks = (
      # Written so that nan fails.
      ('score', (rows.score >= 0.0) & (rows.score <= 1.0), 'a probability'),
      ('label', (rows.label == 0.0) | (rows.label == 1.0), '0 or 1'),
      ('entity', rows.entity >= 0, 'an index'),
      ('day', rows.day >= 0, 'an index'),
      ('support_size', rows.support_size >= 0, 'a count'),
      ('age_seconds', rows.age_seconds >= -1, 'an age, or -1 for none'),
  )
  sizes = {column.shape for column in rows}
  if len(sizes) != 1 or rows.entity.ndim != 1:
    raise errors.InputError(f'{path}: columns differ in length: {sizes}')
  for name, valid, meaning in checks:
    if not np.all(valid):
      row = int(np.argmin(valid))
      raise errors.InputError(
          f'{path}: row {row}: {name} is {getattr(rows, name)[row]}, not '
          f'{meaning}'
      )
