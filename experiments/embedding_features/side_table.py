"""A side table that says from when on each of its rows had which embedding."""

from collections.abc import Iterable
from collections.abc import Sequence
import contextlib
import pathlib
from typing import NamedTuple

import duckdb
import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from limaml_jax import errors
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import sources
from limaml_jax.data.log import tables
from limaml_jax.data.log import values
from limaml_jax.refresh import timeline

VALID_FROM = 'embedding_from'
_ATTRIBUTES = 'attributes'
_KEY = 'embedding_of'


class Attributes(NamedTuple):
  """A table that embeddings are added to.

  Attributes:
    source: its schema.
    files: of it.
  """

  source: schema_lib.SideTable
  files: list[pathlib.Path]


def write_embeddings(
    path: pathlib.Path,
    versions: Iterable[timeline.Versions],
    *,
    columns: Sequence[str],
    key: str = _KEY,
) -> None:
  """Writes embeddings alone, as they come, to Parquet.

  Args:
    path: of the file.
    versions: of the embeddings.
    columns: of their numbers.
    key: column of the keys.

  Raises:
    InputError: if one of them is not finite.
  """
  schema = pa.schema(
      [(key, pa.string()), (VALID_FROM, pa.int64())]
      + [(name, pa.float32()) for name in columns]
  )
  with pq.ParquetWriter(path, schema) as writer:
    for found in versions:
      if not np.isfinite(found.vectors).all():
        raise errors.InputError(
            'the run makes embeddings that are not finite: its training has'
            ' diverged; train it again with a smaller rate'
        )
      keys = pa.array(found.entity_keys.tolist(), pa.string())
      since = pa.array(np.full(len(keys), found.valid_from, np.int64))
      numbers = [pa.array(column) for column in found.vectors.T]
      writer.write_table(pa.table([keys, since, *numbers], schema))


def join(
    path: pathlib.Path,
    embeddings: pathlib.Path,
    attributes: Attributes,
    *,
    columns: Sequence[str],
    unknown: np.ndarray,
) -> None:
  """Writes each row of the attributes once for each version of its embedding.

  What has no version has the embedding of the unknown; a version that the
  attributes have no row for is left out.

  Args:
    path: of the file, CSV or Parquet by its suffix.
    embeddings: that `write_embeddings` wrote.
    attributes: table that they are added to.
    columns: of the numbers of an embedding.
    unknown: embedding of an entity of which nothing is known, [E].

  Raises:
    InputError: if the attributes cannot be read, have such a column, or know
      none of the entities.
  """
  source, files = attributes
  with contextlib.closing(duckdb.connect()) as connection:
    try:
      rows = _open(connection, attributes, columns)
      backend = ibis.duckdb.from_connection(connection)
      versions = backend.read_parquet(str(embeddings))
      # Keys are compared as `prepare` compares them.
      key = values.as_text(rows[source.key])
      joined = rows.left_join(versions, key == versions[_KEY])
      if not joined[_KEY].notnull().any().to_pyarrow().as_py():
        raise errors.InputError(
            f'{files[0]}: knows none of the entities by {source.key!r}; spell'
            ' keys alike'
        )
      filled = {
          name: joined[name].fill_null(ibis.literal(float(value), 'float32'))
          for name, value in zip(columns, unknown, strict=True)
      }
      since = joined[VALID_FROM].fill_null(timeline.BEGINNING)
      joined = joined.mutate(**filled, **{VALID_FROM: since})
      joined = joined.order_by(VALID_FROM, tables.FILE, tables.ROW)
      joined = joined.drop(_KEY, tables.FILE, tables.ROW)
      write = joined.to_parquet if path.suffix == '.parquet' else joined.to_csv
      write(path)
    except duckdb.Error as error:
      raise errors.InputError(
          f'{files[0]}: {str(error).splitlines()[0]}; write or copy the file'
          ' again, and see that the disk has room'
      ) from error


def _open(connection, attributes, columns):
  """Returns the attributes, all columns that their files share."""
  source, files = attributes
  present = sources.shared_columns(
      [sources.read_columns(connection, file, source) for file in files]
  )
  taken = {name.casefold() for name in (VALID_FROM, *columns)}
  for name in present:
    if name.casefold() in taken:
      raise errors.InputError(
          f'{files[0]}: has a column {name!r} already; give the schema as it'
          ' was before embeddings were added'
      )
  needed = dict.fromkeys([*present, source.key], 'the side table')
  sources.open_table(
      connection, _ATTRIBUTES, source, files, columns=needed, formulas={}
  )
  return ibis.duckdb.from_connection(connection).table(_ATTRIBUTES)
