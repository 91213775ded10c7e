"""Where a log lies: from --schema, --input and --data_dir to its files."""

from collections.abc import Sequence
import dataclasses
import glob
import os
import pathlib
from typing import NamedTuple

from experiments import pipeline
from limaml_jax import errors
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import schema_file


class LogInput(NamedTuple):
  """A log to prepare or to profile.

  Attributes:
    schema_path: of its schema.
    data_dir: that files are relative to.
    files: of the log, as globs; those of the schema if None.
  """

  schema_path: pathlib.Path
  data_dir: pathlib.Path
  files: tuple[str, ...] | None

  def load_schema(self) -> schema_lib.Schema:
    """Returns the schema, its files replaced by those that were given."""
    schema = schema_file.load(self.schema_path)
    if self.files is None:
      return schema
    interactions = dataclasses.replace(schema.interactions, files=self.files)
    return dataclasses.replace(schema, interactions=interactions)


def find(
    schema: str,
    inputs: Sequence[str],
    data_dir: str | None,
    *,
    flag: str = 'input',
) -> LogInput:
  """Finds a log.

  Args:
    schema: path, or name of one under experiments/schemas.
    inputs: globs of the log's files, relative to the current directory; none
      takes those of the schema.
    data_dir: that files of the schema are relative to. If None, the first of
      the directory of the first input and the schema's own that has the side
      tables.
    flag: that gave `inputs`, for messages.

  Raises:
    InputError: if there is no schema, input or directory.
  """
  path = pipeline.schema_path(schema)
  if not inputs:
    if data_dir is None and path.parent == pipeline.SCHEMAS:
      raise errors.InputError(
          f'--schema={schema}: is of a public dataset; say by --{flag} or'
          ' --data_dir where its files are'
      )
    return LogInput(path, pathlib.Path(data_dir or path.parent), None)
  files = _expand(inputs, flag)
  if data_dir is None:
    directory = _find_side_tables(path, [files[0].parent, path.parent])
  else:
    directory = pathlib.Path(data_dir)
  return LogInput(
      path, directory, tuple(glob.escape(str(file)) for file in files)
  )


def _expand(inputs: Sequence[str], flag: str) -> list[pathlib.Path]:
  files: dict[pathlib.Path, None] = {}
  for pattern in inputs:
    found = sorted(
        pathlib.Path(name).absolute()
        for name in glob.glob(pattern, recursive=True)
        if os.path.isfile(name)
    )
    if not found:
      raise errors.InputError(
          f'--{flag}={pattern}: no such file; correct it, relative to'
          f' {os.getcwd()}'
      )
    files |= dict.fromkeys(found)
  return list(files)


def _find_side_tables(
    schema_path: pathlib.Path, candidates: Sequence[pathlib.Path]
) -> pathlib.Path:
  """Returns the first directory that has all side tables, or the first."""
  schema = schema_file.load(schema_path)
  holders = [*schema.entities.values(), schema.item]
  patterns = [
      pattern
      for holder in holders if holder.side_table
      for pattern in holder.side_table.files
  ]
  for directory in candidates:
    if all(any(directory.glob(pattern)) for pattern in patterns):
      return directory
  return candidates[0]
