"""Crew: the processes of a job that adapt the entities of a refresh together.

The first process alone opens the store, decides, writes and publishes. It tells
the others who is adapted; each of all adapts its share of the plan's parts on
its own devices and leaves them in the staging, where the first one finds them.
An entity comes out the same to the bit whoever adapts it, and so the snapshot
is that of one process.
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
import pathlib
from typing import Any

import numpy as np

from limaml_jax import cluster
from limaml_jax import errors
from limaml_jax.refresh import generate
from limaml_jax.refresh import refresher as refresher_lib
from limaml_jax.refresh import staging as staging_lib

# Told the stage, and how many of how many of its steps are done.
Progress = Callable[[str, int, int], None]


def adapt(
    refresher: refresher_lib.Refresher,
    cutoff: int,
    plan: generate.Plan,
    *,
    staging: staging_lib.Staging,
    on_progress: Progress,
) -> list[np.ndarray]:
  """Adapts the entities of a plan, with all who `assist`.

  Args:
    refresher: the trained model.
    cutoff: of the plan, UTC seconds.
    plan: who is adapted.
    staging: keeps what is finished.
    on_progress: told of each step of this process.

  Returns:
    The vectors of each part, [n, E].

  Raises:
    InputError: if the parts of the others do not appear in the staging.
  """
  done = staging.done(plan)
  left = [n for n in range(len(plan.parts)) if n not in done]
  if left:
    cluster.tell(_describe(refresher, cutoff, plan, staging, left))
  mine = _share(left)
  total = sum(plan.parts[n].entities.size for n in [*done, *mine])
  num_done = sum(len(vectors) for vectors in done.values())
  on_progress('adapt', num_done, total)
  for chunk in _adapt_share(refresher, plan, staging, mine):
    done[chunk.number] = chunk.vectors
    num_done += chunk.entities.size
    on_progress('adapt', num_done, total)
  if left:
    cluster.tell({})  # They hear it once their shares are done.
    done |= staging.collect(plan, set(left) - mine)
  return [done[number] for number in range(len(plan.parts))]


def dismiss(outcome: str) -> None:
  """Tells all who `assist` how the refresh ended."""
  cluster.tell({'outcome': outcome})


def assist(
    refresher: refresher_lib.Refresher, directory: pathlib.Path
) -> str:
  """Adapts this process's shares until it is dismissed, with an outcome.

  Args:
    refresher: the trained model; its store is left alone.
    directory: of the staging.

  Raises:
    InputError: if this process was given other data or another model, or
      another file system; KnownError for whatever the first one failed of.
  """
  while 'outcome' not in (word := cluster.hear()):
    if not word:
      continue
    _refuse_other(refresher, word)
    count = len(refresher.table.entity_keys)
    mask = np.frombuffer(bytes.fromhex(word['entities']), np.uint8)
    chosen = np.flatnonzero(np.unpackbits(mask, count=count))
    plan = refresher.plan(word['cutoff'], lambda _, chosen=chosen: chosen)
    staging = staging_lib.join_job(directory, word['job'])
    for _ in _adapt_share(refresher, plan, staging, _share(word['left'])):
      pass
  return word['outcome']


def _describe(refresher, cutoff, plan, staging, left) -> dict[str, Any]:
  """Returns all that another process needs to know of a refresh."""
  mask = np.zeros(len(refresher.table.entity_keys), bool)
  for part in plan.parts:
    mask[part.entities] = True
  return {
      'data': refresher.info.fingerprint,
      'adaptation': refresher.adaptation,
      'cutoff': cutoff,
      'entities': np.packbits(mask).tobytes().hex(),
      'job': staging.job,
      'left': left,
  }


def _refuse_other(refresher, word) -> None:
  for flag, ours, theirs in (
      ('--data', refresher.info.fingerprint, word['data']),
      ('--workdir', refresher.adaptation, word['adaptation']),
  ):
    if ours != theirs:
      raise errors.InputError(
          f'{flag}: process {cluster.place().index} finds there another'
          f' content ({ours}) than the first process ({theirs}); give all the'
          ' same, on a file system that they share, and as many devices each'
      )


def _share(left: list[int]) -> set[int]:
  """Returns this process's parts: as many as the others' of each size."""
  place = cluster.place()
  return set(left[place.index :: place.count])


def _adapt_share(
    refresher: refresher_lib.Refresher,
    plan: generate.Plan,
    staging: staging_lib.Staging,
    share: Collection[int],
) -> Iterator[generate.Chunk]:
  """Yields the chunks of some parts, once the staging has them."""
  others = set(range(len(plan.parts))) - set(share)
  for chunk in refresher.generate(plan, done=others):
    staging.add(chunk)
    yield chunk
