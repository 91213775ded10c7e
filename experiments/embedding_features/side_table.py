"""A side table that says from when on each of its rows had which embedding."""

from collections.abc import Iterator
import pathlib
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from limaml_jax import errors
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import sources
from limaml_jax.data.log import tables
from limaml_jax.refresh import timeline

VALID_FROM = 'embedding_from'
_ATTRIBUTES, _VERSIONS = 'attributes', 'versions'  # Tables of the query.
_KEY = 'embedding_of'
# Keys are compared as text, as `prepare` compares them.
_JOINED = f"""
select
  {_ATTRIBUTES}.* exclude ({tables.FILE}, {tables.ROW}),
  coalesce({_VERSIONS}.{VALID_FROM}, {{first}}) as {VALID_FROM},
  {{numbers}}
from {_ATTRIBUTES} left join {_VERSIONS}
  on {{key}}::varchar = {_VERSIONS}.{_KEY}
order by {{key}}::varchar, {VALID_FROM}
"""


class Attributes(NamedTuple):
  """A table that embeddings are added to.

  Attributes:
    source: its schema.
    files: of it.
  """

  source: schema_lib.SideTable
  files: list[pathlib.Path]


class Unknown(NamedTuple):
  """What holds of whom no version is known.

  Attributes:
    valid_from: UTC seconds.
    embedding: [E].
  """

  valid_from: int
  embedding: np.ndarray


def columns(entity_type: str, size: int) -> list[str]:
  """Names the columns of an embedding of so many numbers."""
  return [f'{entity_type}_embedding_{n}' for n in range(size)]


def write(
    path: pathlib.Path,
    versions: Iterator[timeline.Versions],
    *,
    unknown: Unknown,
    columns: list[str],
    key: str,
    attributes: Attributes | None,
) -> int:
  """Writes the table, whole or not at all; returns its number of rows.

  Args:
    path: of the file, CSV or Parquet by its suffix.
    versions: of the embeddings.
    unknown: for rows of the attributes without any version.
    columns: of the numbers of an embedding.
    key: column of the keys, where there are no attributes.
    attributes: table that the embeddings are added to; None makes a table of
      embeddings alone.

  Raises:
    InputError: if the attributes cannot be read, or have such a column.
  """
  scratch = path.with_name(f'.{path.name}.versions')
  temporary = path.with_name(f'.{path.name}')
  try:
    if attributes is None:
      num_rows = _write_versions(temporary, versions, columns, key)
    else:
      _write_versions(scratch, versions, columns, _KEY)
      num_rows = _join(temporary, scratch, unknown, columns, attributes)
    temporary.replace(path)
  finally:
    scratch.unlink(missing_ok=True)
    temporary.unlink(missing_ok=True)
  return num_rows


def _write_versions(path, versions, columns, key) -> int:
  """Writes embeddings as they come: a log's worth need not fit into memory."""
  schema = pa.schema(
      [(key, pa.string()), (VALID_FROM, pa.int64())]
      + [(name, pa.float32()) for name in columns]
  )
  num_rows = 0
  with pq.ParquetWriter(path, schema) as writer:
    for found in versions:
      keys = pa.array(found.entity_keys.tolist(), pa.string())
      since = pa.array(np.full(len(keys), found.valid_from, np.int64))
      numbers = [pa.array(column) for column in found.vectors.T]
      writer.write_table(pa.table([keys, since, *numbers], schema))
      num_rows += len(keys)
  return num_rows


def _join(path, versions, unknown, columns, attributes) -> int:
  """Adds versions to attributes; returns how many rows there are."""
  connection = duckdb.connect()
  source, files = attributes
  present = sources.read_columns(connection, files[0], source)
  for name in (VALID_FROM, *columns):
    if name in present:
      raise errors.InputError(
          f'{files[0]}: has a column {name!r} already; give the schema as it'
          ' was before embeddings were added'
      )
  needed = dict.fromkeys([*present, source.key], 'the side table')
  sources.open_table(
      connection, _ATTRIBUTES, source, files, columns=needed, formulas={}
  )
  connection.read_parquet(str(versions)).create_view(_VERSIONS)
  numbers = ', '.join(
      f'coalesce({_VERSIONS}.{tables.quote(name)}, {float(value)!r}::float)'
      f' as {tables.quote(name)}'
      for name, value in zip(columns, unknown.embedding, strict=True)
  )
  joined = connection.sql(
      _JOINED.format(
          numbers=numbers,
          key=f'{_ATTRIBUTES}.{tables.quote(source.key)}',
          first=unknown.valid_from,
      )
  )
  if path.suffix == '.parquet':
    joined.write_parquet(str(path))
  else:
    joined.write_csv(str(path), header=True)
  return joined.aggregate('count(*)').fetchall()[0][0]
