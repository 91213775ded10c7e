"""What is told of a log; every count is exact."""

from typing import Any
from typing import NamedTuple

QUANTILES = {
    'min': 0.0, '10%': 0.1, '25%': 0.25, '50%': 0.5, '75%': 0.75, '90%': 0.9,
    '99%': 0.99, 'max': 1.0,
}  # fmt: skip


class ValueCount(NamedTuple):
  """One of the most frequent values of a column, as text."""

  value: str
  count: int


class ColumnFacts(NamedTuple):
  """Facts of a needed column, or of what an expression makes of some.

  Attributes:
    name: of the feature, or of the column.
    table: 'log', 'entity' or 'item'.
    kind: 'key', 'time', 'label', 'target', 'weight', 'expression' for a column
      that only expressions refer to, or the kind of a feature.
    type: in the file; that of the result, if it is an expression.
    rows: of its table.
    nulls: rows without a value.
    invalid: rows whose value is not what the kind asks for; of a key, rows
      without one.
    out_of_range: values below the feature's `minimum` or above its `maximum`.
    distinct: values, of a multi_hot feature those inside the lists.
    minimum: of the finite numbers.
    maximum: likewise.
    mean: likewise.
    most_frequent: values, the most frequent first.
  """

  name: str
  table: str
  kind: str
  type: str
  rows: int
  nulls: int
  invalid: int
  out_of_range: int
  distinct: int
  minimum: float | None
  maximum: float | None
  mean: float | None
  most_frequent: tuple[ValueCount, ...]


class DayFacts(NamedTuple):
  """Events of one day, in the zone of the log.

  Attributes:
    day: ISO date.
    rows: of that day whose label is valid.
    label_rate: mean of those labels; None if there are none.
  """

  day: str
  rows: int
  label_rate: float | None


class TimeFacts(NamedTuple):
  """Times of the events.

  Attributes:
    first: ISO time of the earliest plausible one, None if there is none.
    last: of the latest.
    span_seconds: between the two.
    unreadable: rows whose time cannot be read.
    implausible: rows outside the years 1990 to 2100.
    plausible_in: how many of the implausible ones another unit would mend.
    without_zone: rows whose time names no zone.
    zone: that these are taken for.
  """

  first: str | None
  last: str | None
  span_seconds: float | None
  unreadable: int
  implausible: int
  plausible_in: dict[str, int]
  without_zone: int
  zone: str


class CoverageFacts(NamedTuple):
  """How much of the log a side table knows.

  Attributes:
    owner: 'entity' or 'item'.
    rows: of the side table.
    repeated_keys: its rows beyond the first of a key, and of a time from
      which they hold where it has such.
    log_keys: different keys in the log.
    known_keys: those among them that the side table has.
  """

  owner: str
  rows: int
  repeated_keys: int
  log_keys: int
  known_keys: int


class RejectFacts(NamedTuple):
  """Rows that `prepare` leaves out for one reason.

  Attributes:
    table: 'log', 'entity' or 'item'.
    field: what of the row is wrong.
    wanted: what was expected there.
    rows: that fail for no earlier reason.
  """

  table: str
  field: str
  wanted: str
  rows: int


class LeakFacts(NamedTuple):
  """How well a feature alone tells the label.

  Attributes:
    feature: its name.
    roc_auc: on a sample; None where it cannot be told.
    suspected: whether that is too good to be known before the event.
  """

  feature: str
  roc_auc: float | None
  suspected: bool


class LogFacts(NamedTuple):
  """All that is told of a log.

  Attributes:
    name: of the dataset.
    files: of the log.
    rows: of the log.
    rejects: rows that `prepare` leaves out, by table and reason.
    repeated_rows: beyond the first of those alike in entity, item and time.
    entities: different keys in the log.
    items: likewise.
    label_rate: mean of the valid labels.
    time: of the events.
    events_per_entity: by quantile.
    days: label rate by day.
    columns: of the log, then of the side tables.
    coverage: of the side tables.
    sampled_rows: that the leaks were looked for in.
    leaks: by feature, the most telling first.
    findings: what to look at, each with a remedy.
  """

  name: str
  files: tuple[str, ...]
  rows: int
  rejects: tuple[RejectFacts, ...]
  repeated_rows: int
  entities: int
  items: int
  label_rate: float | None
  time: TimeFacts
  events_per_entity: dict[str, int]
  days: tuple[DayFacts, ...]
  columns: tuple[ColumnFacts, ...]
  coverage: tuple[CoverageFacts, ...]
  sampled_rows: int
  leaks: tuple[LeakFacts, ...]
  findings: tuple[str, ...] = ()


def to_json(facts: Any) -> Any:
  """Returns facts as dicts, lists and plain values."""
  if hasattr(facts, '_asdict'):
    return {name: to_json(value) for name, value in facts._asdict().items()}
  if isinstance(facts, dict):
    return {name: to_json(value) for name, value in facts.items()}
  if isinstance(facts, list | tuple):
    return [to_json(value) for value in facts]
  return facts
