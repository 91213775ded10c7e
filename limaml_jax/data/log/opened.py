"""A source with its rows judged: those that go on, and those that do not."""

from collections.abc import Sequence
import logging
from typing import NamedTuple

import ibis
import ibis.expr.types as ir

from limaml_jax import errors
from limaml_jax.data.log import checks as checks_lib
from limaml_jax.data.log import tables

_LOGGER = logging.getLogger(__name__)


class Opened(NamedTuple):
  """A log or side table whose rows were checked.

  Attributes:
    table: what was opened.
    judged: all of its rows, with column REASON.
    checks: that REASON counts.
    rejected: rows that failed each check, by its index.
    num_rows: in all.
  """

  table: tables.Table
  judged: ir.Table
  checks: Sequence[checks_lib.Check]
  rejected: dict[int, int]
  num_rows: int

  @property
  def accepted(self) -> ir.Table:
    """The rows that passed every check."""
    if not self.rejected:
      return self.judged
    return self.judged.filter(self.judged[checks_lib.REASON].isnull())

  def rejects(self) -> ir.Table:
    """Returns file, row, field, reason and value of rejected rows, in order.

    Rows count as people do: from 1, or in a text file as lines.
    """
    rows = self.judged.filter(self.judged[checks_lib.REASON].notnull())
    rows = rows.order_by([tables.FILE, tables.ROW])
    reason = rows[checks_lib.REASON]
    texts = lambda values: ibis.array([ibis.literal(v) for v in values])
    values = [
        (reason == n, check.value(rows)) for n, check in enumerate(self.checks)
    ]
    return rows.select(
        file=self.table.file_names()[rows[tables.FILE]],
        row=rows[tables.ROW] + self.table.first_row,
        field=texts([check.field for check in self.checks])[reason],
        reason=texts([check.wanted for check in self.checks])[reason],
        value=ibis.cases(*values, else_=ibis.null('string')),
    )


def judge(
    table: tables.Table,
    rows: ir.Table,
    checks: Sequence[checks_lib.Check],
    *,
    unique: Sequence[checks_lib.Unique] = (),
    max_reject_fraction: float,
) -> Opened:
  """Checks the rows of a table.

  Args:
    table: as it was opened.
    rows: of it.
    checks: in the order in which they say what is wrong.
    unique: what no two rows may share that passed the checks.
    max_reject_fraction: of the rows.

  Raises:
    InputError: if more than this part of the rows fails, naming the first.
  """
  judged = checks_lib.judge(rows, checks)
  checks = list(checks)
  for one in unique:
    judged, check = checks_lib.judge_unique(
        judged, one, len(checks), table
    )
    if check:
      checks.append(check)
  rejected = _count(judged)
  num_rows = sum(rejected.values())
  rejected.pop(None, None)
  opened = Opened(table, judged, checks, rejected, num_rows)
  if rejected:
    _report(opened, max_reject_fraction)
  return opened


def _count(judged):
  """Returns how many rows have each reason, None for the accepted ones."""
  reason = judged[checks_lib.REASON]
  counted = judged.group_by(reason=reason).agg(rows=judged.count())
  counts = counted.to_pyarrow().to_pylist()
  return {count['reason']: count['rows'] for count in counts}


def _report(opened, max_reject_fraction):
  """Logs the counts by reason, or raises with the first row's."""
  number = sum(opened.rejected.values())
  counts = ', '.join(
      f'{opened.checks[n].field}: {rows:,} not {opened.checks[n].wanted}'
      for n, rows in sorted(opened.rejected.items())
  )
  where = opened.table.files[0]
  if number <= max_reject_fraction * opened.num_rows:
    _LOGGER.warning(
        '%s ...: %d of %d rows rejected (%s)',
        where, number, opened.num_rows, counts,
    )  # fmt: skip
    return
  first = _first(opened)
  check = opened.checks[first['reason']]
  place = opened.table.place(first['file'], first['row'])
  share = ''
  if number > 1:
    share = (
        f' ({number:,} of {opened.num_rows:,} rows are rejected, more than'
        f' --max_reject_fraction={max_reject_fraction:g}: {counts})'
    )
  raise errors.InputError(
      f'{place}: {check.describe(first["value"])};'
      f' {check.advise(first["value"])}{share}'
  )


def _first(opened):
  """Returns the first rejected row: its reason, place and value there."""
  reason = opened.judged[checks_lib.REASON]
  rows = opened.judged.filter(reason.notnull())
  rows = rows.order_by([tables.FILE, tables.ROW]).limit(1)
  values = [
      (rows[checks_lib.REASON] == n, check.value(rows))
      for n, check in enumerate(opened.checks)
  ]
  (found,) = (
      rows.select(
          file=rows[tables.FILE],
          row=rows[tables.ROW],
          reason=rows[checks_lib.REASON],
          value=ibis.cases(*values, else_=ibis.null('string')),
      )
      .to_pyarrow()
      .to_pylist()
  )
  return found
