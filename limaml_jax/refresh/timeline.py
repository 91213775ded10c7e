"""Timeline: what each entity's meta embedding was, from which time on.

One refresh after another over a whole log, as if each had been the newest: for
whoever learns from past events what was known of an entity when they happened.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import functools
from typing import NamedTuple

import numpy as np

from limaml_jax import errors
from limaml_jax.data import dataset
from limaml_jax.refresh import refresher as refresher_lib


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
  """Returns every refresh from before the first event to the last one.

  They lie on the grid of the protocol, whose cutoffs are among them; the first
  is strictly earlier than all events.

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
  num_before = (own - start) // step + 1
  return list(range(own - num_before * step, last + 1, step))


def versions(
    refresher: refresher_lib.Refresher,
    cutoffs: Sequence[int],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Versions]:
  """Yields the embeddings of all entities, then those that change.

  An entity without events between two cutoffs keeps its embedding, as in the
  incremental refresh.

  Args:
    refresher: of the model.
    cutoffs: UTC seconds, ascending.
    on_progress: called after each with (cutoffs done, all).
  """
  earlier = None
  for done, cutoff in enumerate(cutoffs, start=1):
    choose = earlier if earlier is None else functools.partial(_since, earlier)
    chunks = list(refresher.generate(refresher.plan(cutoff, choose)))
    if chunks:
      entities = np.concatenate([chunk.entities for chunk in chunks])
      yield Versions(
          cutoff,
          refresher.table.entity_keys[entities],
          np.concatenate([chunk.vectors for chunk in chunks]),
      )
    earlier = cutoff
    on_progress(done, len(cutoffs))


def _since(earlier: int, watermarks: np.ndarray) -> np.ndarray:
  """Returns who has had an event since, by their watermarks."""
  return np.flatnonzero(watermarks >= earlier)
