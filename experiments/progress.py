"""Progress bars for work that takes longer than a moment."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib

from rich import console as rich_console
from rich import progress as rich_progress


@contextlib.contextmanager
def bar(description: str) -> Iterator[Callable[[int, int], None]]:
  """Shows a bar while the context lasts; yields update(done, total).

  Where the output is no terminal, it prints one line when the work is over,
  and none if it fails: then the error is the only line.
  """
  console = rich_console.Console(stderr=True)
  columns = (
      rich_progress.TextColumn('{task.description:<34}'),
      rich_progress.BarColumn(),
      rich_progress.MofNCompleteColumn(),
      rich_progress.TimeElapsedColumn(),
      rich_progress.TimeRemainingColumn(),
  )
  progress = rich_progress.Progress(*columns, console=console)
  task = progress.add_task(description, total=None)

  def update(done: int, total: int) -> None:
    # Started by the first step: what fails at once leaves only its error.
    progress.start()
    progress.update(task, completed=done, total=total)

  try:
    yield update
  except BaseException:
    progress.live.transient = not console.is_terminal
    progress.live.stop()
    raise
  progress.stop()
