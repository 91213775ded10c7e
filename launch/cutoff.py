"""The default cutoff of a daily refresh: the latest midnight of a zone.

    python -m launch.cutoff Asia/Shanghai    # 2022-05-04T00:00:00+08:00
"""

from collections.abc import Sequence
import datetime
import sys
import zoneinfo


def latest_midnight(now: datetime.datetime, zone: str) -> str:
  """Returns the start of the day that `now` is in, as ISO time with offset.

  Where clocks skip midnight, the day starts at the instant they skip it, and
  the offset is that from before.

  Args:
    now: with a zone, any.
    zone: IANA name, whose days count.

  Raises:
    ValueError: if there is no such zone.
  """
  try:
    tzinfo = zoneinfo.ZoneInfo(zone)
  except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
    raise ValueError(
        f'LIMAML_ZONE={zone}: no such zone; give one like UTC or Asia/Shanghai'
    ) from error
  day = now.astimezone(tzinfo).date()
  return datetime.datetime.combine(
      day, datetime.time(), tzinfo=tzinfo
  ).isoformat()


def main(arguments: Sequence[str]) -> int:
  """Prints the latest midnight of the zone that is the only argument."""
  (zone,) = arguments
  try:
    print(latest_midnight(datetime.datetime.now(datetime.UTC), zone))
  except ValueError as error:
    print(f'error: {error}', file=sys.stderr)
    return 2
  return 0


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
