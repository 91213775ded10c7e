"""Cost of refreshes: measured seconds, and operations counted in the trace."""

import time

import jax
import numpy as np

from experiments import pipeline
from limaml_jax.data import episodes
from limaml_jax.evaluation import replay
from limaml_jax.refresh import generate
from limaml_jax.training import program

_REPEATS = 3


def measure(
    data: pipeline.Dataset,
    served: pipeline.Served,
    schedule: replay.Schedule | None,
) -> dict[str, float | None]:
  """Measures the refresh of everybody at the last cutoff.

  Args:
    data: dataset.
    served: its trained model, whose programs are compiled.
    schedule: of the refreshes; that of the protocol when None.

  Returns:
    `refreshes_per_day`; `refresh_entities`; `refresh_seconds`, the median of
    three; `refresh_flops`, of its matrix products, padding included;
    `parameters` of what makes an embedding, tables apart.
  """
  starts, cutoffs = data.info.cutoffs, replay.refreshes(data.table, data.info)
  if schedule:
    starts, cutoffs = schedule.starts, list(schedule.cutoffs)
  plan = served.refresher.plan(cutoffs[-1])
  seconds = []
  for _ in range(_REPEATS):
    start = time.perf_counter()
    for _ in served.refresher.generate(plan):
      pass
    seconds.append(time.perf_counter() - start)
  facts: dict[str, float | None] = {
      'refresh_entities': float(len(data.table.entity_keys)),
      'refresh_seconds': float(np.median(seconds)),
      'refresh_flops': float(_count_flops(data, served, plan)),
      'parameters': float(_count_parameters(served)),
  }
  if starts:
    days = (data.info.test_end - starts[0]) / 86400
    facts['refreshes_per_day'] = len(starts) / days
  return facts


def _count_parameters(served: pipeline.Served) -> int:
  """Counts those of the meta block and of its history encoder."""
  blocks = served.params.meta_block, served.params.history
  return sum(array.size for array in jax.tree.leaves(blocks))


def _count_flops(
    data: pipeline.Dataset, served: pipeline.Served, plan: generate.Plan
) -> int:
  """Counts the operations of all chunks of a refresh."""
  embed_chunk = generate.make_embed_chunk(
      served.assembly.model,
      loss_fn=served.assembly.loss_fn,
      entity_type=data.info.entity_type,
      config=served.config,
  )
  size = served.config.refresh.entities_per_chunk
  of_one_chunk: dict[int, int] = {}
  for part in plan.parts:
    if part.num_support not in of_one_chunk:
      support = episodes.assemble(
          data.table,
          episodes.NOBODY,
          names=served.assembly.names,
          entity_type=data.info.entity_type,
          num_support=part.num_support,
          num_query=1,
          weights=np.ones(1),
      ).support
      widen = lambda x: jax.ShapeDtypeStruct((size, *x.shape[1:]), x.dtype)
      chunk = jax.tree.map(widen, support)
      of_one_chunk[part.num_support] = program.predict(
          embed_chunk, served.params, chunk
      ).flops
  return sum(of_one_chunk[part.num_support] for part in plan.parts)
