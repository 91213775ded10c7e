"""Progress bars for work that takes longer than a moment."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib

from rich import console as rich_console
from rich import progress as rich_progress
from rich import text as rich_text

from limaml_jax import cluster


@contextlib.contextmanager
def bar(description: str) -> Iterator[Callable[[int, int], None]]:
  """Shows a bar while the context lasts; yields update(done, total).

  Where the output is no terminal, it prints one line when the work is over,
  and none if it fails: then the error is the only line.
  """
  with stages(description, '{description}') as update:
    yield lambda done, total: update('', done, total)


@contextlib.contextmanager
def stages(
    description: str, template: str = '{description}: {stage}'
) -> Iterator[Callable[[str, int, int], None]]:
  """Shows a bar for each stage; yields update(stage, done, total).

  Where the output is no terminal, as `bar`.
  """
  console = rich_console.Console(stderr=True, quiet=not cluster.is_first())
  columns = (
      rich_progress.TextColumn('{task.description:<34}'),
      rich_progress.BarColumn(),
      rich_progress.MofNCompleteColumn(),
      _Rate(),
      rich_progress.TimeElapsedColumn(),
      rich_progress.TimeRemainingColumn(),
  )
  progress = rich_progress.Progress(*columns, console=console)
  tasks: dict[str, rich_progress.TaskID] = {}

  def update(stage: str, done: int, total: int) -> None:
    # Started by the first step: what fails at once leaves only its error.
    progress.start()
    if stage not in tasks:
      shown = template.format(description=description, stage=stage)
      tasks[stage] = progress.add_task(shown, total=None)
    progress.update(tasks[stage], completed=done, total=total)

  try:
    yield update
  except BaseException:
    progress.live.transient = not console.is_terminal
    progress.live.stop()
    raise
  if tasks:
    progress.stop()


class _Rate(rich_progress.ProgressColumn):
  """Steps a second."""

  def render(self, task: rich_progress.Task) -> rich_text.Text:
    speed = task.finished_speed or task.speed
    return rich_text.Text(f'{speed:,.0f}/s' if speed else '')
