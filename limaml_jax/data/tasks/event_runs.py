"""Event runs: what was read of the log, kept beside the tasks.

A run holds the events of some files, checked and in order. When files are
added to a log, only those are read; runs are merged into tasks.

DIR/events/runs.json    what each run was made of
DIR/events/NAME         its events: a Parquet file, or a folder of them
DIR/events/NAME.rejects its rejected rows, likewise
"""

from collections.abc import Sequence
import dataclasses
import json
import pathlib
import shutil

import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from limaml_jax import errors
from limaml_jax.data.log import engine as engine_lib
from limaml_jax.data.log import opened as opened_lib
from limaml_jax.data.tasks import fingerprint
from limaml_jax.data.tasks import ordered_events

EVENTS_DIR = 'events'
REJECTS_FILE = 'rejects.parquet'
_RUNS_FILE = 'runs.json'
_REJECTS = pa.schema({
    'file': pa.string(),
    'row': pa.int64(),
    'field': pa.string(),
    'reason': pa.string(),
    'value': pa.string(),
})


@dataclasses.dataclass(frozen=True)
class Run:
  """Events of some files, in order.

  Attributes:
    key: hash of all that decides what is made of a file.
    files: name, size and change time of each.
    parts: Parquet files, one after another, relative to DIR/events.
    rejects: Parquet files, likewise.
    typed: SQL type of text columns that were taken for numbers.
    num_rows: of the files.
    num_rejected: of those.
  """

  key: str
  files: list[list]
  parts: list[str]
  rejects: list[str]
  typed: dict[str, str]
  num_rows: int
  num_rejected: int


class Runs:
  """The runs under a directory.

  Attributes:
    found: in the order in which they were made.
  """

  def __init__(self, directory: pathlib.Path, found: Sequence[Run] = ()):
    """Takes the dataset's directory, and what is there."""
    self._directory = directory / EVENTS_DIR
    self.found = list(found)

  @classmethod
  def load(cls, directory: pathlib.Path) -> 'Runs':
    """Reads what `save` wrote; nothing if there is nothing whole."""
    try:
      text = (directory / EVENTS_DIR / _RUNS_FILE).read_text()
      runs = [Run(**run) for run in json.loads(text)]
      there = lambda name: (directory / EVENTS_DIR / name).exists()
      return cls(
          directory,
          [run for run in runs if all(map(there, run.parts + run.rejects))],
      )
    except (OSError, ValueError, TypeError):
      return cls(directory)

  def save(self) -> None:
    """Says in DIR/events what is there."""
    runs = [dataclasses.asdict(run) for run in self.found]
    (self._directory / _RUNS_FILE).write_text(json.dumps(runs, indent=1))

  def keep(
      self, earlier: 'Runs', key: str, files: Sequence[list]
  ) -> list[list]:
    """Takes over what still holds of earlier runs, without reading it.

    Args:
      earlier: runs of another directory.
      key: of what is wanted.
      files: that are wanted.

    Returns:
      Those of the files that no run has.
    """
    self._directory.mkdir()
    left = list(files)
    for run in earlier.found:
      if run.key != key or any(file not in left for file in run.files):
        continue
      for name in (*run.parts, *run.rejects):
        source = earlier._directory / name
        target = self._directory / name
        target.parent.mkdir(exist_ok=True)
        _link(source, target)
      self.found.append(run)
      left = [file for file in left if file not in run.files]
    return left

  def add(
      self,
      engine: engine_lib.Engine,
      opened: opened_lib.Opened,
      rows: ir.Table,
      *,
      key: str,
      files: list[list],
  ) -> None:
    """Writes a new run.

    Args:
      engine: that writes.
      opened: the files of the log.
      rows: its events, in order.
      key: of what is made of the files.
      files: name, size and change time of each.
    """
    name = fingerprint.of_facts(key, files)
    path = self._directory / name
    parts = engine.write(rows, path, ordered_events.ROWS_PER_PART)
    rejects = []
    if opened.rejected:
      path = self._directory / f'{name}.rejects'
      rejects = engine.write(
          opened.rejects(), path, ordered_events.ROWS_PER_PART
      )
    relative = lambda found: [
        str(part.relative_to(self._directory)) for part in found
    ]
    self.found.append(
        Run(
            key=key,
            files=files,
            parts=relative(parts),
            rejects=relative(rejects),
            typed=opened.table.typed,
            num_rows=opened.num_rows,
            num_rejected=sum(opened.rejected.values()),
        )
    )

  def agree(self, typed: dict[str, str]) -> bool:
    """Says whether every run took the same text columns for numbers."""
    return all(run.typed == typed for run in self.found)

  def refuse_above(self, max_reject_fraction: float) -> None:
    """Refuses runs of which too many rows were rejected.

    Raises:
      InputError: with the number.
    """
    num_rows = sum(run.num_rows for run in self.found)
    number = sum(run.num_rejected for run in self.found)
    if number > max_reject_fraction * num_rows or number == num_rows > 0:
      files = [name for run in self.found for name, *_ in run.files]
      raise errors.InputError(
          f'{files[0]} ...: {number:,} of {num_rows:,} rows of the log are'
          f' rejected, with --max_reject_fraction={max_reject_fraction:g}; mend'
          ' them, or raise it'
      )

  def paths(self) -> list[list[pathlib.Path]]:
    """Returns the files of each run."""
    return [
        [self._directory / part for part in run.parts] for run in self.found
    ]

  def rejects(self) -> list[pathlib.Path]:
    """Returns the files of rejected rows."""
    return [
        self._directory / name for run in self.found for name in run.rejects
    ]


def _link(source: pathlib.Path, target: pathlib.Path) -> None:
  try:
    target.hardlink_to(source)
  except OSError:  # Not on every file system.
    shutil.copyfile(source, target)


def write_rejects(
    parts: Sequence[pathlib.Path], directory: pathlib.Path
) -> None:
  """Joins rejected rows in DIR/rejects.parquet, if there are any."""
  if not parts:
    return
  with pq.ParquetWriter(directory / REJECTS_FILE, _REJECTS) as writer:
    for part in parts:
      with pq.ParquetFile(part) as file:
        for batch in file.iter_batches():
          writer.write_batch(batch.cast(_REJECTS))
