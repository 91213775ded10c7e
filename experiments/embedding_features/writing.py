"""Writes a schema with another run's embeddings, and the files it reads."""

import json
import os
import pathlib
from typing import NamedTuple

from experiments import pipeline
from experiments import raw_links
from experiments.embedding_features import side_table
from limaml_jax import errors
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import schema_file
from limaml_jax.data.log import sources
from limaml_jax.refresh import timeline

SCHEMA_FILE = 'schema.toml'
_HEAD = """\
name = {name}
base = {base}

[item.side_table]
files = [{file}]
format = {format}
key = {key}
valid_from = {valid_from}
valid_from_unit = "s"
"""
_FEATURE = """
[[features]]
name = {name}
owner = "item"
kind = "numeric"
role = "global"
column = {name}
"""


class Written(NamedTuple):
  """What was written.

  Attributes:
    schema: path of the schema.
    table: path of the side table.
    num_rows: of the table.
    num_cutoffs: refreshes that it holds.
  """

  schema: pathlib.Path
  table: pathlib.Path
  num_rows: int
  num_cutoffs: int


def write(
    data: pipeline.Dataset,
    workdir: pathlib.Path,
    *,
    schema: pathlib.Path,
    data_dir: pathlib.Path,
    output: pathlib.Path,
    on_progress: pipeline.OnProgress = lambda done, total: None,
) -> Written:
  """Adapts entities at every refresh, and makes it features of items.

  Args:
    data: of the run, whose entities are the items of `schema`.
    workdir: of the run.
    schema: of a log that is to know their embeddings.
    data_dir: that its files are relative to.
    output: receives the schema, the side table, and links to the files.
    on_progress: told of each refresh.

  Raises:
    InputError: if the entities of the run are not the schema's items, or
      whatever is missing.
  """
  base = schema_file.load(schema)
  _check(base, data)
  refresher = pipeline.restore(
      data, workdir, store=workdir / pipeline.STORE_DIR
  ).refresher
  cutoffs = timeline.cutoffs(data.info, data.table)
  default = refresher.default_embedding()
  columns = side_table.columns(data.info.entity_type, default.size)
  attributes = _attributes(base, data_dir)
  output.mkdir(parents=True, exist_ok=True)
  raw_links.write(data_dir.resolve(), output)
  path = output / _file_name(data.info.entity_type, attributes)
  num_rows = side_table.write(
      path,
      timeline.versions(refresher, cutoffs, on_progress),
      unknown=side_table.Unknown(cutoffs[0], default),
      columns=columns,
      key=base.interactions.item,
      attributes=attributes,
  )
  written = output / SCHEMA_FILE
  path_of_base = os.path.relpath(schema.resolve(), output.resolve())
  pipeline.write_text(written, _spell(base, path_of_base, path, columns))
  return Written(written, path, num_rows, len(cutoffs))


def _check(base: schema_lib.Schema, data: pipeline.Dataset) -> None:
  """Raises InputError unless items of the one are entities of the other."""
  item, entity = base.interactions.item, data.info.entity_feature
  if item != entity:
    raise errors.InputError(
        f'{base.path}: interactions.item is {item!r}, and the entities of'
        f' {data.directory} are of {entity!r}; embeddings become features of'
        ' what is the item of a log'
    )
  if base.item.side_table and base.item.side_table.valid_from:
    raise errors.InputError(
        f'{base.path}: item.side_table.valid_from: attributes of items change'
        ' already; embeddings are added to a table of one row per item'
    )


def _attributes(
    base: schema_lib.Schema, data_dir: pathlib.Path
) -> side_table.Attributes | None:
  source = base.item.side_table
  if source is None:
    return None
  return side_table.Attributes(
      source, sources.find_files(source.files, data_dir)
  )


def _file_name(entity_type, attributes) -> str:
  """Names the table: text stays as it is spelled, in CSV."""
  is_text = attributes and attributes.source.format != 'parquet'
  return f'{entity_type}_embeddings.{"csv" if is_text else "parquet"}'


def _spell(
    base: schema_lib.Schema,
    path_of_base: str,
    table: pathlib.Path,
    columns: list[str],
) -> str:
  """Returns the schema, in TOML."""
  source = base.item.side_table
  head = _HEAD.format(
      name=json.dumps(f'{base.name}_with_embeddings'),
      base=json.dumps(path_of_base),
      file=json.dumps(table.name),
      format=json.dumps(table.suffix.removeprefix('.')),
      key=json.dumps(source.key if source else base.interactions.item),
      valid_from=json.dumps(side_table.VALID_FROM),
  )
  features = [_FEATURE.format(name=json.dumps(name)) for name in columns]
  return head + ''.join(features)
