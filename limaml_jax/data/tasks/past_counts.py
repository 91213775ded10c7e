"""Past counts: how many events were earlier, of label 1, and how recently.

Written once for all engines, and in time linear in the events but for sorting,
however many of them a window holds.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from typing import NamedTuple

import ibis
import ibis.expr.types as ir

from limaml_jax.data.log import tables
from limaml_jax.data.tasks.ordered_events import LABEL
from limaml_jax.data.tasks.ordered_events import TIME

_COUNTED, _ONES, _PERIOD = '__counted', '__counted_ones', '__period'
_OUT_OF = '__out_of'  # Of an event that leaves a window: its length; or 0.
_MICROSECONDS_PER_PERIOD = 3600 * 1000000


class Group(NamedTuple):
  """Which of the earlier events are meant.

  Attributes:
    keys: columns that they are alike in.
    window: microseconds that they are earlier at most; 0 for all.
  """

  keys: tuple[str, ...]
  window: int = 0


class Counts(NamedTuple):
  """Columns of a group: how many its events are, and those of label 1."""

  number: str
  ones: str


def mark(rows: ir.Table, counted: tables.Column) -> ir.Table:
  """Says which events count; the others count for none."""
  label: tables.Column = rows[LABEL]
  counted = counted.cast('int64')
  return rows.mutate(**{
      _COUNTED: counted,
      _ONES: counted * label.cast('int64'),
      _PERIOD: rows[TIME] // _MICROSECONDS_PER_PERIOD,
  })


def add(
    rows: ir.Table, groups: Iterable[Group]
) -> tuple[ir.Table, dict[Group, Counts]]:
  """Adds the counts of each group.

  Args:
    rows: events, marked.
    groups: that are counted.

  Returns:
    The events, and the columns of each group.
  """
  columns = {
      group: Counts(f'__number_{n}', f'__ones_{n}')
      for n, group in enumerate(dict.fromkeys(groups))
  }
  rows = _with_recent(
      rows, {group: names for group, names in columns.items() if group.window}
  )
  found = {}
  for group, names in columns.items():
    if not group.window:
      found |= zip(names, _before(rows, group.keys), strict=True)
  return rows.mutate(**found), columns


def add_latest(
    rows: ir.Table, groups: Iterable[tuple[str, ...]]
) -> tuple[ir.Table, dict[tuple[str, ...], str]]:
  """Adds the time of the latest earlier event of each group, or NULL.

  Args:
    rows: events, marked.
    groups: columns that events are alike in.

  Returns:
    The events, and the column of each group.
  """
  distinct = dict.fromkeys(groups)
  columns = {keys: f'__latest_{n}' for n, keys in enumerate(distinct)}
  time: tables.Column = ibis.ifelse(rows[_COUNTED] == 1, rows[TIME], None)
  found = {}
  for keys, name in columns.items():
    earlier = ibis.range_window(
        group_by=keys, order_by=TIME, preceding=(None, 1)
    )
    found[name] = time.max().over(earlier)
  return rows.mutate(**found), columns


def add_prior(rows: ir.Table, marked: ir.Table) -> tuple[ir.Table, str]:
  """Adds the mean label of all earlier events, NULL where there is none.

  Period by period, so that no engine has to hold the log in one place.

  Args:
    rows: events, and whatever was added to them.
    marked: the same without what was added.
  """
  totals = marked.group_by(of=_PERIOD).agg(
      number=marked[_COUNTED].sum(), ones=marked[_ONES].sum()
  )
  window = ibis.window(order_by='of', preceding=(None, 1))
  before = lambda column: totals[column].sum().over(window).fill_null(0)
  periods = totals.select(
      __of=totals['of'], __number=before('number'), __ones=before('ones')
  )
  number, ones = _before(rows, [_PERIOD])
  rows = rows.mutate(__number_within=number, __ones_within=ones)
  rows = rows.left_join(periods, [rows[_PERIOD] == periods['__of']])
  number = (rows['__number'] + rows['__number_within']).nullif(0)
  ones = rows['__ones'] + rows['__ones_within']
  prior = ones.cast('float64') / number.cast('float64')
  return rows.mutate(__prior=prior), '__prior'


def _before(rows, keys):
  """Counts the earlier events alike in `keys`, and those of label 1.

  They are all but those as late or later.
  """
  alike = ibis.window(group_by=keys)
  return tuple(
      rows[column].sum().over(alike) - _not_before(rows, keys, rows[column])
      for column in (_COUNTED, _ONES)
  )


def _not_before(rows, keys, value):
  """Sums over events that are as late or later.

  The frame ends with an event's peers: engines sum it in one pass.
  """
  window = ibis.range_window(
      group_by=keys, order_by=ibis.desc(TIME), preceding=None, following=0
  )
  return value.sum().over(window)


def _with_recent(rows, columns: Mapping[Group, Counts]):
  """Adds counts of windows.

  An event is counted when it comes, and again, with a minus, when it leaves the
  window, right after its end: what both add up to before an event lies in
  its window. A frame of that length would be summed anew for each event.
  """
  windows = sorted({group.window for group in columns})
  if not windows:
    return rows
  parts = [rows.mutate(**{_OUT_OF: ibis.literal(0, 'int64')})]
  parts += [_leaving(rows, columns, window) for window in windows]
  both = ibis.union(*parts)
  found = {}
  for group, names in columns.items():
    for name, column in zip(names, (_COUNTED, _ONES), strict=True):
      value = ibis.cases(
          (both[_OUT_OF] == 0, both[column]),
          (both[_OUT_OF] == group.window, -both[column]),
          else_=0,
      )
      # Who comes also leaves: of all together the sum is 0.
      found[name] = -_not_before(both, group.keys, value)
  both = both.mutate(**found)
  return both.filter(both[_OUT_OF] == 0).drop(_OUT_OF)


def _leaving(rows, groups, window):
  """Returns the events at the time that each leaves the window."""
  read = {TIME, _COUNTED, _ONES}
  read |= {key for group in groups for key in group.keys}
  nothing = {
      name: ibis.null(kind)
      for name, kind in rows.schema().items()
      if name not in read
  }
  time: tables.Column = rows[TIME]
  return rows.mutate(**nothing).mutate(**{
      TIME: time + window,
      _OUT_OF: ibis.literal(window, 'int64'),
  })
