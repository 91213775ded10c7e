"""Writes a schema with another run's embeddings, and the files it reads."""

from collections.abc import Sequence
import json
import os
import pathlib
from typing import Any
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
# Apart from the links: a glob of the log's files may match what lies there.
_TABLES_DIR = 'embeddings'
_HEAD = """\
# Embeddings of each {entity_type}, of a run that was prepared by the protocol
# {protocol}
# Prepare what reads them by the same one: they know its training days.
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
    num_refreshes: that it knows of.
  """

  schema: pathlib.Path
  table: pathlib.Path
  num_refreshes: int


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
  cutoffs = timeline.cutoffs(data.info, data.table)
  attributes = _attributes(base, data_dir)
  output.mkdir(parents=True, exist_ok=True)
  raw_links.write(data_dir.resolve(), output)
  refresher = pipeline.restore(
      data, workdir, store=workdir / pipeline.STORE_DIR
  ).refresher
  unknown = refresher.default_embedding()
  entity_type = data.info.entity_type
  columns = [f'{entity_type}_embedding_{n}' for n in range(unknown.size)]
  _check_names(base, columns)
  (output / _TABLES_DIR).mkdir(exist_ok=True)
  path = output / _TABLES_DIR / _file_name(entity_type, attributes)
  versions = timeline.versions(refresher, cutoffs, on_progress)
  _write_table(path, versions, base, attributes, columns, unknown)
  text = _spell(base, data, output=output, table=path, columns=columns)
  pipeline.write_text(output / SCHEMA_FILE, text)
  return Written(output / SCHEMA_FILE, path, len(cutoffs))


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


def _check_names(base: schema_lib.Schema, columns: Sequence[str]) -> None:
  known = {feature.name.casefold() for feature in base.features}
  for name in columns:
    if name.casefold() in known:
      raise errors.InputError(
          f'{base.path}: has a feature {name!r} already; rename it'
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
  return f'{entity_type}.{"csv" if is_text else "parquet"}'


def _write_table(path, versions, base, attributes, columns, unknown):
  """Writes the side table, whole or not at all."""
  scratch = path.with_name(f'.{path.stem}_embeddings.parquet')
  temporary = path.with_name(f'.{path.name}')
  try:
    if attributes:
      side_table.write_embeddings(scratch, versions, columns=columns)
      side_table.join(
          temporary, scratch, attributes, columns=columns, unknown=unknown
      )
    else:
      side_table.write_embeddings(
          temporary, versions, columns=columns, key=base.interactions.item
      )
    temporary.replace(path)
  finally:
    scratch.unlink(missing_ok=True)
    temporary.unlink(missing_ok=True)


def _spell(
    base: schema_lib.Schema,
    data: pipeline.Dataset,
    *,
    output: pathlib.Path,
    table: pathlib.Path,
    columns: Sequence[str],
) -> str:
  """Returns the schema, in TOML."""
  source = base.item.side_table
  beside = os.path.relpath(pathlib.Path(base.path).resolve(), output.resolve())
  head = _HEAD.format(
      entity_type=data.info.entity_type,
      protocol=data.info.protocol,
      name=_quote(f'{base.name}_with_embeddings'),
      base=_quote(beside),
      file=_quote(str(table.relative_to(output))),
      format=_quote(table.suffix.removeprefix('.')),
      key=_quote(source.key if source else base.interactions.item),
      valid_from=_quote(side_table.VALID_FROM),
  )
  return head + ''.join(_FEATURE.format(name=_quote(c)) for c in columns)


def _quote(text: Any) -> str:
  """Returns a text as TOML spells it."""
  return json.dumps(text, ensure_ascii=False)
