"""A source once it is inside DuckDB, and how its rows and columns are named."""

from typing import NamedTuple

# Of every opened table: index into `Table.files`, and row of that file from 0.
FILE = '__file'
ROW = '__row'


class Table(NamedTuple):
  """A log or side table inside DuckDB.

  Attributes:
    name: of the DuckDB table.
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

  def place(self, file: int, row: int) -> str:
    """Names a row as people count: the header of a text file is line 1."""
    if self.is_text:
      return f'{self.files[file]}: line {row + 2}'
    return f'{self.files[file]}: row {row + 1}'


def quote(name: str) -> str:
  """Quotes an SQL identifier."""
  return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
  """Quotes an SQL string."""
  return "'" + text.replace("'", "''") + "'"
