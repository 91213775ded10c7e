"""Batcher: scores together what waits together.

A batch is what has arrived while the last one was computed, most often a single
request. Requests that the loop has heard of are some of its rounds away, so a
batch stays open for these: microseconds when there is nothing else to do.
"""

import asyncio
from collections.abc import Awaitable
from collections.abc import Callable
from collections.abc import Sequence
from typing import Generic
from typing import NamedTuple
from typing import TypeVar

_ROUNDS = 20  # Of the event loop.

_Item = TypeVar('_Item')
_Result = TypeVar('_Result')


class Size(NamedTuple):
  """How much of a batch something takes."""

  entities: int
  rows: int


_Run = Callable[[Sequence[_Item]], Awaitable[Sequence[_Result | Exception]]]


class _Waiting(NamedTuple, Generic[_Item]):
  item: _Item
  size: Size
  answer: asyncio.Future


class Batcher(Generic[_Item, _Result]):
  """Hands items on in batches; belongs to one event loop."""

  def __init__(
      self,
      run: '_Run[_Item, _Result]',
      largest: Size,
  ):
    """Takes what runs a batch.

    Args:
      run: returns a result for each item of a batch; one that is an exception
        is raised to who submitted the item.
      largest: batch, unless a single item is larger.
    """
    self._run = run
    self._largest = largest
    self._waiting: list[_Waiting] = []
    self._running: set[asyncio.Task] = set()

  async def submit(self, item: _Item, size: Size) -> _Result:
    """Returns the result of an item.

    Args:
      item: to be run.
      size: of it.
    """
    loop = asyncio.get_running_loop()
    answer = loop.create_future()
    if not self._waiting:
      loop.call_soon(self._close, _ROUNDS)
    self._waiting.append(_Waiting(item, size, answer))
    return await answer

  def _close(self, rounds: int) -> None:
    """Starts to run everything that waits, so many rounds from now."""
    if rounds:
      asyncio.get_running_loop().call_soon(self._close, rounds - 1)
      return
    waiting, self._waiting = self._waiting, []
    for batch in _cut(waiting, self._largest):
      task = asyncio.get_running_loop().create_task(self._run_batch(batch))
      self._running.add(task)  # The loop alone would let it be collected.
      task.add_done_callback(self._running.discard)

  async def _run_batch(self, batch: Sequence[_Waiting]) -> None:
    try:
      results = await self._run([waiting.item for waiting in batch])
    except Exception as error:  # pylint: disable=broad-except
      results = [error] * len(batch)
    for waiting, result in zip(batch, results, strict=True):
      if waiting.answer.done():  # Whoever asked is gone.
        continue
      if isinstance(result, Exception):
        waiting.answer.set_exception(result)
      else:
        waiting.answer.set_result(result)


def _cut(waiting: Sequence[_Waiting], largest: Size) -> list[list[_Waiting]]:
  """Cuts what waits into batches, in order."""
  batches: list[list[_Waiting]] = []
  entities = rows = 0
  for one in waiting:
    entities += one.size.entities
    rows += one.size.rows
    if not batches or entities > largest.entities or rows > largest.rows:
      batches.append([])
      entities, rows = one.size
    batches[-1].append(one)
  return batches
