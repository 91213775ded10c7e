"""Timeline: what each entity's meta embedding was, from which time on.

One refresh after another over a whole log, as if each had been the newest: for
whoever learns from past events what was known of an entity when they happened.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from limaml_jax import errors
from limaml_jax.data import dataset
from limaml_jax.data.log import event_time
from limaml_jax.refresh import refresher as refresher_lib

BEGINNING = event_time.EARLIEST  # UTC seconds, before any event.


class Versions(NamedTuple):
  """Embeddings that hold from a time on, each until its entity's next.

  Attributes:
    valid_from: UTC seconds; they are made of strictly earlier events.
    entity_keys: [n] str.
    vectors: float32, [n, E].
  """

  valid_from: int
  entity_keys: np.ndarray
  vectors: np.ndarray


def cutoffs(info: dataset.DatasetInfo, table: dataset.TaskTable) -> list[int]:
  """Returns every refresh that has an event before it, up to the last event.

  They lie on the grid of the protocol, whose cutoffs are among them.

  Raises:
    InputError: if the dataset has no refreshes that all entities share.
  """
  if not info.refresh_seconds:
    raise errors.InputError(
        f'{info.name}: its protocol has no refreshes that all entities share;'
        ' prepare it with --config.protocol.split=by_time and'
        ' --config.protocol.refresh_hours'
    )
  own, step = info.cutoffs[0], info.refresh_seconds
  start, last = int(table.timestamps.min()), int(table.timestamps.max())
  # The latest at or before the first event knows of none.
  begin = own - -(-(own - start) // step) * step
  return list(range(begin + step, last + 1, step))


def versions(
    refresher: refresher_lib.Refresher,
    refreshes: Sequence[int],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Versions]:
  """Yields the embeddings of all entities unadapted, then those that change.

  An entity without events between two refreshes keeps its embedding, as in the
  incremental refresh.

  Args:
    refresher: of the model.
    refreshes: cutoffs of all, UTC seconds, ascending.
    on_progress: called after each with (refreshes done, all).
  """
  yield from _refresh(refresher, BEGINNING, since=None)
  since = BEGINNING
  for done, cutoff in enumerate(refreshes, start=1):
    yield from _refresh(refresher, cutoff, since=since)
    since = cutoff
    on_progress(done, len(refreshes))


def _refresh(
    refresher: refresher_lib.Refresher, cutoff: int, *, since: int | None
) -> Iterator[Versions]:
  """Yields the chunks of who has had events since, or of all, at a cutoff."""
  choose = None
  if since is not None:
    choose = lambda watermarks: np.flatnonzero(watermarks >= since)
  keys = refresher.table.entity_keys
  for chunk in refresher.generate(refresher.plan(cutoff, choose)):
    yield Versions(cutoff, keys[chunk.entities], chunk.vectors)
