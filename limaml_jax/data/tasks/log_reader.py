"""Log reader: from files to ordered events and side tables, with any engine.

Reads what no earlier run has, and puts the runs in one order.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import pathlib
from typing import NamedTuple

from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax.data.engines import start
from limaml_jax.data.log import downstream
from limaml_jax.data.log import opened as opened_lib
from limaml_jax.data.log import raw_log
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.tasks import event_runs
from limaml_jax.data.tasks import fingerprint
from limaml_jax.data.tasks import ordered_events
from limaml_jax.data.tasks import ordering
from limaml_jax.data.tasks import past_events
from limaml_jax.data.tasks import run_merging
from limaml_jax.data.tasks import side_tables


class Found(NamedTuple):
  """What the files of a schema hold.

  Attributes:
    ordered: the log.
    features: that bear on the adapted entity type.
    sides: side tables that hold for all time, by owner.
  """

  ordered: ordered_events.OrderedEvents
  features: tuple[schema_lib.Feature, ...]
  sides: dict[str, side_tables.SideRows]


class LogReader:
  """Reads the files of one schema for one entity type."""

  def __init__(
      self,
      schema: schema_lib.Schema,
      data: config_lib.DataConfig,
      protocol: config_lib.ProtocolConfig,
      data_dir: pathlib.Path,
      engines: start.Engines,
      max_reject_fraction: float,
  ):
    """Takes what to read, and with what.

    Args:
      schema: says what is where.
      data: task entity and cap.
      protocol: which events are hidden from others.
      data_dir: that names of files are relative to.
      engines: that read.
      max_reject_fraction: of the rows of a table.
    """
    self._schema = schema
    self._data_dir = data_dir
    self._max_reject_fraction = max_reject_fraction
    self._engines = engines
    self._entity = raw_log.find_entity(schema, data.task_entity)
    self._sources = raw_log.side_sources(schema, self._entity)
    self._features = raw_log.features_of(schema, data.task_entity)
    past, self._hidden = past_events.resolve(
        schema, self._entity, self._features
    )
    self._merger = run_merging.Merger(
        schema,
        protocol,
        engines,
        self._sources,
        self._features,
        past,
        self._hidden,
    )

  def read(
      self,
      files: Mapping[str, Sequence[pathlib.Path]],
      directory: pathlib.Path,
      earlier: event_runs.Runs,
      *,
      scratch: pathlib.Path,
      on_table: Callable[[int, int], None],
  ) -> Found:
    """Reads files.

    Args:
      files: of 'events', and of each side table by its owner.
      directory: of the dataset; receives the runs and the rejected rows.
      earlier: runs of the dataset that was there before.
      scratch: for what is gone once the tasks are written.
      on_table: told how many of how many tables are done.

    Raises:
      InputError: for what is wrong with the files.
    """
    total = 1 + len(self._sources)
    on_table(0, total)
    runs, read = self._read_events(files['events'], directory, earlier)
    on_table(1, total)
    opened = {}
    for number, owner in enumerate(self._sources, 2):
      opened[owner] = self._open_side_table(owner, files[owner])
      on_table(number, total)
    rejects = runs.rejects()
    for owner, side in opened.items():
      if side.rejected:
        path = scratch / f'{owner}.rejects'
        rejects += self._engines.for_sides().write(
            side.rejects(), path, ordered_events.ROWS_PER_PART
        )
    event_runs.write_rejects(rejects, directory)
    return Found(
        ordered=self._merger.merge(runs, opened, scratch, read),
        features=downstream.as_downstream(self._features, self._sources),
        sides={
            owner: side_tables.read(
                opened[owner], source, self._features_in(owner)
            )
            for owner, source in self._sources.items()
            if not source.valid_from
        },
    )

  def _features_in(self, owner):
    """Returns the features in the side table of an owner."""
    return raw_log.in_side_table(self._features, owner)

  def _read_events(self, paths, directory, earlier):
    """Returns the runs of the log, and which of its files were read."""
    in_log = [feature for feature in self._features if feature.in_log]
    in_log += self._hidden
    key = fingerprint.of_run(self._schema, self._entity, in_log)
    named = fingerprint.of_files(paths, self._data_dir)
    runs = event_runs.Runs(directory)
    left = runs.keep(earlier, key, named)
    read = [path for path, file in zip(paths, named, strict=True)
            if file in left]  # fmt: skip
    if read:
      engine = self._engines.for_log()
      opened = self._open_added(in_log, read, runs)
      if opened is None:
        runs.found, left, read = [], named, list(paths)
        opened = self._open_events(in_log, read)
      rows = ordering.select(opened, self._schema, self._entity, in_log)
      runs.add(engine, opened, rows, key=key, files=left)
    runs.refuse_above(self._max_reject_fraction)
    runs.save()
    return runs, read

  def _open_events(self, in_log, paths) -> opened_lib.Opened:
    return raw_log.open_events(
        self._engines.for_log(),
        self._schema,
        self._entity,
        in_log,
        paths,
        max_reject_fraction=self._max_reject_fraction,
    )

  def _open_added(self, in_log, paths, runs) -> opened_lib.Opened | None:
    """Opens files; None if those of the runs must be read again with them.

    In text files it takes all values of a column to say whether it is one of
    numbers.
    """
    is_text = self._schema.interactions.format != 'parquet'
    try:
      opened = self._open_events(in_log, paths)
    except errors.InputError:
      if is_text and runs.found:
        return None
      raise
    return opened if runs.agree(opened.table.typed) else None

  def _open_side_table(self, owner, paths) -> opened_lib.Opened:
    return raw_log.open_side_table(
        self._engines.for_sides(),
        self._schema,
        owner,
        self._sources[owner],
        self._features_in(owner),
        paths,
        max_reject_fraction=self._max_reject_fraction,
    )
