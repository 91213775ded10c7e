"""Connection: calls to a Redis that try again, and fail in one line."""

from collections.abc import Callable
import time
import traceback
from typing import Any
from typing import TypeVar

import redis
from redis import backoff
from redis import retry

from limaml_jax.store.redis_store import place as place_lib
from limaml_jax.store.redis_store import refusals

_Answer = TypeVar('_Answer')
_CONNECT_SECONDS = 2.0
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
_HOPELESS = (
    redis.exceptions.AuthenticationError,
    redis.exceptions.AuthorizationError,
    redis.exceptions.MaxConnectionsError,
)


class Connection:
  """Calls to one Redis; threads may share it, and it connects when it must."""

  def __init__(
      self,
      place: place_lib.Place,
      *,
      timeout_seconds: float,
      patience_seconds: float,
  ):
    """Connects to nothing yet.

    Args:
      place: of the server.
      timeout_seconds: for an answer, unless the URL says otherwise.
      patience_seconds: since a call began, for which it is repeated when the
        server is down; shorter than the timeout, so that a slow one is not.
    """
    self.place = place
    self._patience_seconds = patience_seconds
    options: dict[str, Any] = {
        'socket_timeout': timeout_seconds,
        'socket_connect_timeout': _CONNECT_SECONDS,
        'protocol': 2,  # Which every Redis, and what is like one, speaks.
        **place.options,
        # Its own would multiply with ours, and repeat a wrong password.
        'retry': retry.Retry(backoff.NoBackoff(), 0),
    }
    self._client = redis.Redis(
        connection_pool=redis.ConnectionPool(**options)
    )

  def call(self, ask: Callable[[redis.Redis], _Answer]) -> _Answer:
    """Asks the server something.

    Args:
      ask: is given the client, perhaps more than once: what it does twice must
        come to the same.

    Raises:
      InputError: for whatever redis-py raises.
    """
    pause = _FIRST_PAUSE_SECONDS
    give_up = time.monotonic() + self._patience_seconds
    while True:
      try:
        return ask(self._client)
      except (redis.RedisError, OSError) as error:
        if time.monotonic() + pause > give_up or not _may_pass(error):
          cause = None if self._tells_secrets(error) else error
          raise refusals.explained(self.place, error) from cause
      time.sleep(pause)
      pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

  def command(self, *arguments: str | bytes | int) -> Any:
    """Runs one command that may run twice; returns what redis-py makes of it.

    Raises:
      InputError: as `call`.
    """
    # Typed by nobody: redis-py declares bytes or str, whichever it was told.
    return self.call(lambda client: client.execute_command(*arguments))

  def close(self) -> None:
    """Closes all connections."""
    self._client.connection_pool.disconnect()

  def _tells_secrets(self, error):
    shown = ''.join(traceback.format_exception(error))
    return place_lib.redacted(self.place, shown) != shown


def _may_pass(error):
  passing = redis.ConnectionError | redis.TimeoutError | OSError
  return isinstance(error, passing) and not isinstance(error, _HOPELESS)
