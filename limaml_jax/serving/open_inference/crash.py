"""Crash: what the log says of an error that is ours, and no client's."""

import logging
import traceback

MESSAGE = 'internal error; the server has logged it'


def log(logger: logging.Logger, place: str, error: BaseException) -> None:
  """Logs where an error arose; not its message, which may quote the request.

  Args:
    logger: of the caller.
    place: what was asked for.
    error: that nobody foresaw.
  """
  frames = ''.join(traceback.format_tb(error.__traceback__))
  logger.error('%.200r: %s\n%s', place, type(error).__name__, frames)
