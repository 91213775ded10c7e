"""Run merging: from the runs of a log to its events in one order.

What is known only of the whole log is added here: what held before an event,
and what earlier events were like.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import pathlib

import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax.data.engines import start
from limaml_jax.data.log import opened as opened_lib
from limaml_jax.data.log import raw_log
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.tasks import event_index
from limaml_jax.data.tasks import event_runs
from limaml_jax.data.tasks import event_split
from limaml_jax.data.tasks import ordered_events
from limaml_jax.data.tasks import ordering
from limaml_jax.data.tasks import past_events
from limaml_jax.data.tasks import past_sides

_MICROSECONDS = 1_000_000


class Merger:
  """Puts the events of a schema in order."""

  def __init__(
      self,
      schema: schema_lib.Schema,
      protocol: config_lib.ProtocolConfig,
      engines: start.Engines,
      sources: Mapping[str, schema_lib.SideTable],
      features: Sequence[schema_lib.Feature],
      past: Sequence[past_events.Past],
      hidden: Sequence[schema_lib.Feature],
  ):
    """Takes what is to be added to the events.

    Args:
      schema: says what is where.
      protocol: which events are hidden from others.
      engines: that read and order.
      sources: side tables by owner.
      features: that bear on the adapted entity type.
      past: those of them that count earlier events.
      hidden: features that were read of the log for those alone.
    """
    self._schema = schema
    self._protocol = protocol
    self._engines = engines
    self._sources = sources
    self._features = features
    self._past = past
    self._hidden = {
        ordered_events.feature_column(feature) for feature in hidden
    }

  def merge(
      self,
      runs: event_runs.Runs,
      opened: Mapping[str, opened_lib.Opened],
      scratch: pathlib.Path,
      added: Sequence[pathlib.Path],
  ) -> ordered_events.OrderedEvents:
    """Returns the events of all runs; those of one alone are in order already.

    Args:
      runs: of the log.
      opened: side tables by owner.
      scratch: receives the events, if they are put in another order.
      added: files of the log that were read now, for messages.

    Raises:
      InputError: for events of the added files that were there before, or a
        side table that knows none of the log's keys.
    """
    changing = {
        owner: side
        for owner, side in opened.items()
        if self._sources[owner].valid_from and self._features_in(owner)
    }
    paths = [path for parts in runs.paths() for path in parts]
    is_ordered = len(runs.found) == 1 and not changing
    if is_ordered and not self._past:
      return ordered_events.open_files(paths)
    rows = self._engines.for_log().read(paths)
    if len(runs.found) > 1 and self._schema.interactions.duplicates != 'keep':
      rows = self._without_repeated(rows, added)
    rows = self._join_versions(rows, changing, scratch)
    keep = [name for name in rows.columns if name not in self._hidden]
    if self._past:
      if event_split.hides_inside(self._protocol):
        if not is_ordered:
          paths = self._write(rows, scratch / 'merged')
        rows = self._mark_hidden(paths, scratch)
      rows = self._join_attributes(rows, opened, scratch)
      rows = past_events.add(rows, self._past, keep=keep)
    return ordered_events.open_files(self._write(rows, scratch / 'ordered'))

  def _features_in(self, owner):
    return raw_log.in_side_table(self._features, owner)

  def _write(self, rows, path):
    return self._engines.for_log().write(
        ordering.in_order(rows), path, ordered_events.ROWS_PER_PART
    )

  def _without_repeated(self, rows: ir.Table, added) -> ir.Table:
    """Refuses, or leaves out, events that stand in two runs."""
    if self._schema.interactions.duplicates == 'error':
      number = ordering.num_repeated(rows)
      if number:
        raise errors.InputError(
            f'{added[0]}: {number} events of the new files are in files that'
            ' were read before, alike in entity, item and time; remove them,'
            " or set duplicates = 'first' or 'keep'"
        )
      return rows
    return ordering.first_of_repeated(rows)

  def _join_versions(self, rows, changing, scratch) -> ir.Table:
    """Joins what changes in time."""
    versions = {}
    for owner, side in changing.items():
      found = ordering.versions(
          side, self._sources[owner], self._features_in(owner)
      )
      found = self._hand_over(found, scratch / f'{owner}.versions')
      if not ordering.knows_any(rows, past_sides.KEYS[owner], found):
        raise errors.InputError(
            f'{side.table.files[0]}: none of the {owner} keys of the log is'
            ' here; spell them alike'
        )
      versions[past_sides.KEYS[owner]] = found
    return ordering.join_versions(rows, versions)

  def _hand_over(self, found, path) -> ir.Table:
    """Hands what is of a side table to the engine that orders the log."""
    engine, sides = self._engines.for_log(), self._engines.for_sides()
    if engine is sides:
      return found
    return engine.read(sides.write(found, path, ordered_events.ROWS_PER_PART))

  def _mark_hidden(self, paths, scratch) -> ir.Table:
    """Reads events, and from when on those of their entity are hidden."""
    ordered = ordered_events.open_files(paths)
    keys, offsets, seconds = event_index.read_entities(ordered)
    hidden = event_split.hidden_from(
        keys.to_pylist(), offsets, seconds, protocol=self._protocol
    )
    path = scratch / 'hidden.parquet'
    last = np.iinfo(np.int64).max // _MICROSECONDS
    times = pa.array(np.minimum(hidden, last) * _MICROSECONDS)
    pq.write_table(pa.table([keys, times], past_events.HIDDEN_COLUMNS), path)
    engine = self._engines.for_log()
    return past_events.mark_hidden(engine.read(paths), engine.read([path]))

  def _join_attributes(self, rows, opened, scratch) -> ir.Table:
    """Joins what past features need of side tables that hold for all time."""
    attributes = {}
    wanted = past_sides.wanted(self._past, self._sources, self._features)
    for owner, features in wanted.items():
      if not self._sources[owner].valid_from:
        found = ordering.attributes(
            opened[owner], self._sources[owner], features
        )
        attributes[past_sides.KEYS[owner]] = self._hand_over(
            found, scratch / f'{owner}.attributes'
        )
    return ordering.join_attributes(rows, attributes)
