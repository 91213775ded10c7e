"""Times on the command line: ISO with zone, UTC seconds inside."""

import datetime

from limaml_jax import errors


def parse(flag: str, text: str) -> int:
  """Returns UTC seconds.

  Args:
    flag: that gave the text, for messages.
    text: e.g. 2022-05-04T00:00:00+08:00.

  Raises:
    InputError: if it is no ISO time, or has no zone.
  """
  try:
    time = datetime.datetime.fromisoformat(text)
  except ValueError as error:
    raise errors.InputError(
        f'--{flag}={text}: not an ISO time; e.g. 2022-05-04T00:00:00+08:00'
    ) from error
  if time.tzinfo is None:
    raise errors.InputError(
        f'--{flag}={text}: has no zone; append e.g. +00:00'
    )
  return int(time.timestamp())


def show(seconds: int) -> str:
  """Returns UTC seconds as an ISO time."""
  time = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
  return time.isoformat()
