"""Facts of the events: who has how many, when, with what labels."""

import datetime

import duckdb

from limaml_jax.data.log import event_time
from limaml_jax.data.log import raw_log
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import tables
from limaml_jax.data.profile import facts
from limaml_jax.data.profile import opening
from limaml_jax.data.profile import subjects as subjects_lib

_EVENTS = opening.view(opening.LOG)
_TIME = tables.quote(raw_log.TIME)
_PER_SECOND = {'s': 1, 'ms': 1000, 'us': 1000000}
_LOW = event_time.EARLIEST * 1000000
_HIGH = event_time.LATEST * 1000000
_DAY = 86400 * 1000000
# At the end of a text: Z, +hh, +hh:mm, or a name such as UTC or Asia/Tokyo.
_ZONE = r'.*(?:[A-Za-z]|[+-]\d{2}(?::?\d{2})?)\s*'
# A date alone ends like a zone.
_DATE = r'\s*[+-]?\d+-\d+-\d+\s*'


def count_repeated(
    connection: duckdb.DuckDBPyConnection, log: opening.OpenLog
) -> int:
  """Returns rows beyond the first of those alike in entity, item and time."""
  columns = [tables.quote(log.key_of(owner)) for owner in ('entity', 'item')]
  columns.append(_TIME)
  (count,) = connection.execute(
      'SELECT coalesce(sum(number - 1), 0)::BIGINT FROM ('
      f'SELECT count(*) AS number FROM {_EVENTS} GROUP BY'
      f' {", ".join(columns)} HAVING count(*) > 1)'
  ).fetchall()[0]
  return count


def count_by_key(
    connection: duckdb.DuckDBPyConnection, log: opening.OpenLog
) -> tuple[int, int, dict[str, int]]:
  """Counts entities, items, and quantiles of the events of an entity.

  Leaves tables entity_counts and item_counts, of (key, number).
  """
  for owner in ('entity', 'item'):
    key = f'CAST({tables.quote(log.key_of(owner))} AS VARCHAR)'
    connection.execute(
        f'CREATE TEMP TABLE {owner}_counts AS SELECT {key} AS key, count(*) AS'
        f' number FROM {_EVENTS} WHERE {key} IS NOT NULL GROUP BY ALL'
    )
  fractions = list(facts.QUANTILES.values())
  entities, quantiles = connection.execute(
      f'SELECT count(*), quantile_disc(number, {fractions}) FROM entity_counts'
  ).fetchall()[0]
  (items,) = connection.execute(
      'SELECT count(*) FROM item_counts'
  ).fetchall()[0]
  by_name = {}
  if entities:
    by_name = dict(zip(facts.QUANTILES, quantiles, strict=True))
  return entities, items, by_name


def count_coverage(
    connection: duckdb.DuckDBPyConnection, log: opening.OpenLog
) -> tuple[facts.CoverageFacts, ...]:
  """Looks the log's keys up in the side tables."""
  result = []
  for owner, source in log.side_tables().items():
    key = f'CAST({tables.quote(source.key)} AS VARCHAR)'
    table = opening.view(owner)
    same = f'{key}, {_TIME}' if source.valid_from else key
    rows, keys, distinct = connection.execute(
        f'SELECT count(*), count({key}), count(DISTINCT ({same})) FILTER'
        f' ({key} IS NOT NULL) FROM {table}'
    ).fetchall()[0]
    log_keys, known = connection.execute(
        f'SELECT count(*), count(*) FILTER (key IN (SELECT {key} FROM {table}'
        f' WHERE {key} IS NOT NULL)) FROM {owner}_counts'
    ).fetchall()[0]
    result.append(
        facts.CoverageFacts(
            owner=owner,
            rows=rows,
            repeated_keys=keys - distinct,
            log_keys=log_keys,
            known_keys=known,
        )
    )
  return tuple(result)


def describe_days(
    connection: duckdb.DuckDBPyConnection,
    log: opening.OpenLog,
    label: subjects_lib.Subject,
) -> tuple[facts.DayFacts, ...]:
  """Returns the label rate of each day of the log's zone with an event."""
  zone = log.schema.interactions.timestamp_zone
  day = f'DATE \'1970-01-01\' + ({_TIME} // {_DAY})::INTEGER'
  if zone != 'UTC':  # Which takes longer.
    local = f'timezone({tables.literal(zone)}, make_timestamptz({_TIME}))'
    day = f'CAST({local} AS DATE)'
  rows = connection.execute(
      f'SELECT CAST({day} AS VARCHAR) AS day, count({label.number}),'
      f' avg({label.number}) FROM {_EVENTS} WHERE {_TIME} BETWEEN {_LOW} AND'
      f' {_HIGH} GROUP BY day ORDER BY day'
  ).fetchall()
  return tuple(facts.DayFacts(*row) for row in rows)


def describe_time(
    connection: duckdb.DuckDBPyConnection, log: opening.OpenLog
) -> facts.TimeFacts:
  """Returns facts of the times of the events."""
  interactions = log.schema.interactions
  readable = f'{_TIME} IS NOT NULL'
  if interactions.timestamp_unit != 'iso':
    # What is a number is readable, however large it is in microseconds.
    number = subjects_lib.finite(tables.quote(interactions.timestamp))
    readable = f'({number}) IS NOT NULL'
  inside = f'coalesce({_TIME} BETWEEN {_LOW} AND {_HIGH}, false)'
  implausible = f'({readable} AND NOT {inside})'
  others = _other_units(interactions)
  column = f'CAST({tables.quote(interactions.timestamp)} AS VARCHAR)'
  without_zone = (
      f"{_TIME} IS NOT NULL AND (NOT regexp_full_match({column}, '{_ZONE}')"
      f" OR regexp_full_match({column}, '{_DATE}'))"
      if interactions.timestamp_unit == 'iso' else 'false'
  )
  plausible = f'CASE WHEN {inside} THEN {_TIME} END'
  counts = [
      f'count(*) FILTER ({implausible} AND {condition})'
      for condition in others.values()
  ]
  low, high, unreadable, outside, zoneless, *mended = connection.execute(
      f'SELECT min({plausible}), max({plausible}),'
      f' count(*) FILTER (NOT ({readable})), count(*) FILTER ({implausible}),'
      f' count(*) FILTER ({without_zone}){"".join(", " + c for c in counts)}'
      f' FROM {_EVENTS}'
  ).fetchall()[0]
  known = low is not None
  return facts.TimeFacts(
      first=_iso(low) if known else None,
      last=_iso(high) if known else None,
      span_seconds=(high - low) / 1e6 if known else None,
      unreadable=unreadable,
      implausible=outside,
      plausible_in=dict(zip(others, mended, strict=True)),
      without_zone=zoneless,
      zone=interactions.timestamp_zone,
  )


def _other_units(interactions: schema_lib.Interactions) -> dict[str, str]:
  """Returns SQL for whether a time would be plausible in another unit."""
  if interactions.timestamp_unit == 'iso':
    return {}
  number = f'TRY_CAST({tables.quote(interactions.timestamp)} AS DOUBLE)'
  return {
      unit: (
          f'{number} BETWEEN {event_time.EARLIEST * factor} AND'
          f' {event_time.LATEST * factor}'
      )
      for unit, factor in _PER_SECOND.items()
      if unit != interactions.timestamp_unit
  }


def _iso(microseconds: int) -> str:
  epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
  return (epoch + datetime.timedelta(microseconds=microseconds)).isoformat()
