"""Findings: what to look at in a log, each in one line with a remedy."""

from collections.abc import Iterator

from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.profile import facts

_YEAR = 365.25 * 86400
_LONGEST_YEARS = 20
_SMALLEST_COVERAGE = 0.5


def find(
    log: facts.LogFacts, schema: schema_lib.Schema
) -> tuple[str, ...]:
  """Returns the findings, those that stop `prepare` first."""
  return (
      *_of_leaks(log),
      *_of_time(log, schema.interactions),
      *_of_labels(log),
      *_of_columns(log, schema),
      *_of_repeated(log, schema.interactions),
      *_of_coverage(log),
  )


def _of_leaks(log: facts.LogFacts) -> Iterator[str]:
  for leak in log.leaks:
    if leak.suspected:
      yield (
          f'feature {leak.feature!r} alone tells the label (ROC-AUC'
          f' {leak.roc_auc:.3f} on {log.sampled_rows:,} rows): if it is known'
          ' only after the event, remove it and list its column under outcomes'
      )


def _of_time(
    log: facts.LogFacts, interactions: schema_lib.Interactions
) -> Iterator[str]:
  time, unit = log.time, interactions.timestamp_unit
  place = f'column {interactions.timestamp!r}'
  if time.unreadable:
    yield (
        f'{place}: {time.unreadable:,} of {log.rows:,} times cannot be read in'
        f' {unit!r}; mend them, or set timestamp_unit'
    )
  if time.implausible:
    advice = 'mend them'
    mended = {count: unit for unit, count in time.plausible_in.items()}
    most = max(mended, default=0)
    if most:
      advice = (
          f'{most:,} of these would be inside in {mended[most]!r}: set'
          f' timestamp_unit = {mended[most]!r}'
      )
    yield (
        f'{place}: {time.implausible:,} of {log.rows:,} times are outside 1990'
        f' to 2100 in {unit!r}; {advice}'
    )
  if time.span_seconds is not None and time.span_seconds < 1:
    yield (
        f'{place}: the whole log spans {time.span_seconds:g} s; check'
        f' timestamp_unit, now {unit!r}'
    )
  elif time.span_seconds and time.span_seconds > _LONGEST_YEARS * _YEAR:
    yield (
        f'{place}: the log spans {time.span_seconds / _YEAR:.0f} years; check'
        f' timestamp_unit, now {unit!r}, and the earliest times'
    )
  if time.without_zone and interactions.timestamp_zone == 'UTC':
    yield (
        f'{place}: {time.without_zone:,} of {log.rows:,} times name no zone and'
        ' are taken for UTC; if they are local, set timestamp_zone'
    )


def _of_labels(log: facts.LogFacts) -> Iterator[str]:
  if log.label_rate in (0, 1):
    yield (
        f'every label is {log.label_rate:.0f}: there is nothing to learn;'
        ' correct interactions.label'
    )


def _of_columns(
    log: facts.LogFacts, schema: schema_lib.Schema
) -> Iterator[str]:
  filled = {
      feature.name: feature.fill is not None for feature in schema.features
  }
  wanted = {
      'key': 'have no key',
      'label': 'are neither 0 nor 1',
      'expression': 'are not numbers like the rest of the column',
      'target': 'have no target from 0 to 1',
      'weight': 'have no weight above 0',
      **dict.fromkeys(
          schema_lib.NUMBER_KINDS, 'are not numbers that the feature allows'
      ),
  }
  for column in log.columns:
    place = f'{column.table} {column.kind} {column.name!r}'
    if column.invalid and column.kind in wanted:
      yield (
          f'{place}: {column.invalid:,} of {column.rows:,} rows'
          f' {wanted[column.kind]}; mend or remove them'
      )
    if column.out_of_range:
      yield (
          f'{place}: {column.out_of_range:,} of {column.rows:,} values are'
          ' beyond its minimum or maximum; mend them or the bounds'
      )
    if column.kind == 'numeric' and column.nulls and not filled[column.name]:
      yield (
          f'{place}: {column.nulls:,} of {column.rows:,} values are empty; give'
          ' the feature a `fill`'
      )
    if column.name in filled and column.distinct < 2 and column.rows > 1:
      yield (
          f'{place}: has {column.distinct} different values; remove the feature'
      )


def _of_repeated(
    log: facts.LogFacts, interactions: schema_lib.Interactions
) -> Iterator[str]:
  if log.repeated_rows and interactions.duplicates == 'error':
    yield (
        f'{log.repeated_rows:,} of {log.rows:,} rows repeat entity, item and'
        " time of another; remove them, or set duplicates = 'first' or 'keep'"
    )


def _of_coverage(log: facts.LogFacts) -> Iterator[str]:
  for side in log.coverage:
    if side.repeated_keys:
      yield (
          f'{side.owner} side table: {side.repeated_keys:,} rows repeat a key;'
          ' keep one row of each'
      )
    if side.known_keys < _SMALLEST_COVERAGE * side.log_keys:
      yield (
          f'{side.owner} side table: knows {side.known_keys:,} of the'
          f' {side.log_keys:,} keys of the log; spell them alike, or add rows'
      )
