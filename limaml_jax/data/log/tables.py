"""A source that an engine opened, and how its rows and columns are named."""

from typing import Any
from typing import NamedTuple

import ibis

# An Ibis expression over rows: what it can do depends on the column's type.
Column = Any
# Of every opened table: index into `Table.files`, and row of that file from 0.
FILE = '__file'
ROW = '__row'


class Table(NamedTuple):
  """A log or side table that an engine has opened.

  Attributes:
    name: of the table or view in the engine.
    files: that it was read from, in the order of FILE.
    columns: DuckDB type of each column that the files share.
    is_text: whether rows are lines below a header line.
    typed: DuckDB type that expressions see a text column as, where it is
      taken for a number.
    computed: column that holds the value of each expression.
  """

  name: str
  files: tuple[str, ...]
  columns: dict[str, str]
  is_text: bool
  typed: dict[str, str]
  computed: dict[str, str]

  def file_names(self) -> Column:
    """Returns an Ibis array of the files."""
    return ibis.array([ibis.literal(name) for name in self.files])

  @property
  def first_row(self) -> int:
    """How people count row 0: the header of a text file is line 1."""
    return 2 if self.is_text else 1

  @property
  def row_word(self) -> str:
    """What people call a row."""
    return 'line' if self.is_text else 'row'

  def place(self, file: int, row: int) -> str:
    """Names a row as people count."""
    return f'{self.files[file]}: {self.row_word} {row + self.first_row}'


def quote(name: str) -> str:
  """Quotes an SQL identifier."""
  return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
  """Quotes an SQL string."""
  return "'" + text.replace("'", "''") + "'"
