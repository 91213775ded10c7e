"""What reading a log asks of an engine.

Checks, joins, caps and order are Ibis expressions, the same for every engine.
An engine opens the log's files, runs expressions, and writes sorted rows.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import pathlib
from typing import Protocol

import ibis
import ibis.expr.types as ir

from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import tables


class Engine(Protocol):
  """Runs Ibis expressions over opened tables.

  Attributes:
    backend: of Ibis.
  """

  backend: ibis.BaseBackend

  def open_table(
      self,
      name: str,
      source: schema_lib.Interactions | schema_lib.SideTable,
      paths: Sequence[pathlib.Path],
      *,
      columns: Mapping[str, str],
      formulas: Mapping[str, str],
  ) -> tables.Table:
    """Opens files as table `name`, with a column for each formula.

    Args:
      name: of the table.
      source: how to read the files.
      paths: of the files.
      columns: that must be there, with the place in the schema that says so.
      formulas: SQL expressions, with the place in the schema of each.

    Raises:
      InputError: if a file is torn, or lacks a column.
    """
    ...

  def microseconds(self, time: tables.Column, zone: str) -> tables.Column:
    """Returns microseconds since 1970 UTC of times as SQL reads them.

    Args:
      time: text, timestamps or dates; NULL for what is none of them.
      zone: of times that name none.
    """
    ...

  def write(
      self, rows: ir.Table, path: pathlib.Path, rows_per_group: int
  ) -> list[pathlib.Path]:
    """Writes rows as Parquet in their order, to `path` or files under it."""
    ...

  def read(self, paths: Sequence[pathlib.Path]) -> ir.Table:
    """Opens what `write` wrote."""
    ...
