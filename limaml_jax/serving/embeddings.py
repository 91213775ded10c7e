"""Embeddings: asks the store, for no longer than there is time."""

import asyncio
from collections.abc import Callable
from collections.abc import Sequence
import concurrent.futures
import logging
import threading
import time

from limaml_jax import errors
from limaml_jax.store import address as address_lib
from limaml_jax.store import lookup as lookup_lib

_LOGGER = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0  # Before a store that failed is asked again.
_MAX_SLOW = 3  # Lookups in a row, after which a store is left alone.
_NUM_THREADS = 4

OnFailure = Callable[[str], None]


class Embeddings:
  """Looks embeddings up in a store that may be down, slow or corrupt."""

  def __init__(
      self,
      address: str,
      entity_type: str,
      *,
      deadline_seconds: float,
      on_failure: OnFailure = lambda reason: None,
  ):
    """Opens nothing yet.

    Args:
      address: of the store.
      entity_type: whose embeddings.
      deadline_seconds: for an answer.
      on_failure: told 'down' or 'slow', each time the store does not answer.
    """
    self._store = address_lib.open_backend(address)
    self._entity_type = entity_type
    self._deadline_seconds = deadline_seconds
    self._on_failure = on_failure
    self._is_remote = '://' in address
    # A disk of this machine answers sooner than a thread would wake up. If it
    # does not, threads wait for it, and not the loop.
    self._is_far = self._is_remote
    self._threads = concurrent.futures.ThreadPoolExecutor(
        _NUM_THREADS, thread_name_prefix='store'
    )
    self._opening = threading.Lock()
    self._reader: lookup_lib.Reader | None = None
    self._retry_at = 0.0
    self._num_slow = 0
    self._kind = self._reason = ''

  async def lookup(
      self, keys: Sequence[str], now: int
  ) -> lookup_lib.Lookup | None:
    """Returns what the store knows of some entities; None if it is silent.

    Args:
      keys: of the entities.
      now: UTC seconds that ages count to.
    """
    if time.monotonic() < self._retry_at:
      self._on_failure(self._kind)
      return None
    start = time.monotonic()
    try:
      if self._is_far or self._reader is None:
        answer = asyncio.get_running_loop().run_in_executor(
            self._threads, self._ask, keys, now
        )
        found = await asyncio.wait_for(answer, self._deadline_seconds)
      else:
        found = self._reader.lookup(keys, now=now)
    except TimeoutError:
      self._fail('slow', f'no answer within {self._deadline_seconds} s')
      return None
    except Exception as error:  # pylint: disable=broad-except
      # No request fails for the store, not even for what nobody thought of.
      self._fail('down', _in_words(error))
      return None
    is_late = time.monotonic() - start > self._deadline_seconds
    self._is_far = self._is_remote or is_late
    self._num_slow = 0
    if self._reason:
      self._reason = ''
      _LOGGER.warning('store: answers again')
    return found

  def keys(self, prefix: str, limit: int) -> list[str]:
    """Returns the first keys that begin so, if that is quick to say.

    Args:
      prefix: of the keys.
      limit: how many, at most.
    """
    if self._is_remote or self._reader is None:
      return []
    try:
      return self._reader.keys(prefix, limit=limit)
    except Exception as error:  # pylint: disable=broad-except
      self._fail('down', _in_words(error))
      return []

  def open(self) -> None:
    """Opens the store before the first request; it may be down."""
    try:
      self._ask([], 0)
    except Exception as error:  # pylint: disable=broad-except
      self._fail('down', _in_words(error))

  def close(self) -> None:
    """Lets go of the store."""
    self._threads.shutdown(wait=False, cancel_futures=True)
    if self._reader is not None:
      self._reader.close()

  def _ask(self, keys, now) -> lookup_lib.Lookup:
    if self._reader is None:
      with self._opening:
        if self._reader is None:
          self._reader = lookup_lib.Reader(self._store, self._entity_type)
    return self._reader.lookup(keys, now=now)

  def _fail(self, kind: str, reason: str) -> None:
    """Leaves the store alone for a moment; says once why."""
    self._kind = kind
    self._on_failure(kind)
    self._num_slow += kind == 'slow'
    if kind == 'slow' and self._num_slow < _MAX_SLOW:
      return  # Everybody is late once.
    self._num_slow = 0
    self._retry_at = time.monotonic() + _RETRY_SECONDS
    if reason != self._reason:
      self._reason = reason
      _LOGGER.warning(
          'store: %s; default embeddings stand in until it answers', reason
      )


def _in_words(error: Exception) -> str:
  if isinstance(error, errors.InputError):
    return str(error)
  return f'{type(error).__name__}: {error}'
