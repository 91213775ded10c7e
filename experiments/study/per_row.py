"""Scoring by a task's adapted weights, each row with its own meta features.

What MAML does and LiMAML replaces by a stored embedding: nothing is pooled, and
the whole adapted meta block would have to be kept for each entity. So it goes
by no store; the support is what the store's embeddings are made of.
"""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from experiments import pipeline
from limaml_jax import errors
from limaml_jax.blocks import ensemble
from limaml_jax.data import episodes
from limaml_jax.data import recency
from limaml_jax.evaluation import replay
from limaml_jax.evaluation import scores as scores_lib
from limaml_jax.meta import inner_loop
from limaml_jax.meta import task_loss

_NUM_QUERY = 8  # Rows of an entity that are scored at once.
_NUM_TASKS = 512


def score(
    data: pipeline.Dataset,
    run_dir: pathlib.Path,
    on_progress: pipeline.OnProgress,
) -> tuple[scores_lib.Scores, dict[str, float | None]]:
  """Scores the test rows of a trained run.

  Args:
    data: dataset.
    run_dir: of the run.
    on_progress: told of each chunk of tasks.

  Returns:
    Scores, and facts: `weights_bytes` and `embedding_bytes` that one entity
    takes in float32.

  Raises:
    InputError: for a meta block that reads a history, whose embedding is of no
      row.
  """
  served = pipeline.restore(data, run_dir, store=run_dir / 'no_store')
  block = served.config.model.meta_block
  if block.reads_history:
    raise errors.InputError(
        f'model.meta_block.kind: is {block.kind}, which reads the labels of'
        ' rows; scorer per_row is for mlp and id_embedding'
    )
  rows = replay.test_rows(data.table, data.info)
  index, first = _plan(data, served, rows)
  score_tasks = _make_score_tasks(served)
  result = np.zeros(rows.event.size)
  starts = range(0, first.size, _NUM_TASKS)
  for start in starts:
    part = index.take(np.arange(start, min(start + _NUM_TASKS, first.size)))
    scores = _score_chunk(data, served, part, score_tasks)
    _, sizes = part.sizes()
    for task, size in enumerate(sizes):
      begin = first[start + task]
      result[begin : begin + size] = scores[task, :size]
    on_progress(min(start + _NUM_TASKS, first.size), first.size)
  scored = replay.unserved_scores(data.table, rows, result)
  by_day = np.argsort(rows.day, kind='stable')
  return scores_lib.select(scored, by_day), stored_bytes(served)


def stored_bytes(served: pipeline.Served) -> dict[str, float | None]:
  """Returns the bytes of one entity in float32, by what is kept of it."""
  leaves = jax.tree.leaves(served.params.meta_block)
  size = served.refresher.default_embedding().size
  return {
      'weights_bytes': float(sum(4 * leaf.size for leaf in leaves)),
      'embedding_bytes': 4.0 * size,
  }


def _plan(data, served, rows):
  """Divides the rows into episodes; returns them and the first row of each."""
  table, info = data.table, data.info
  changes = (np.diff(rows.entity) != 0) | (np.diff(rows.day) != 0)
  begins = np.flatnonzero(np.concatenate([[rows.entity.size > 0], changes]))
  ends = np.append(begins[1:], rows.entity.size)
  first = np.concatenate([
      np.arange(begin, end, _NUM_QUERY)
      for begin, end in zip(begins, ends, strict=True)
  ])
  owner = np.searchsorted(begins, first, side='right') - 1
  stop = np.minimum(first + _NUM_QUERY, ends[owner])
  cutoffs = replay.entity_cutoffs(table)[rows.entity[first]]
  if info.cutoffs:
    cutoffs = np.asarray(info.cutoffs)[rows.day[first]]
  index = episodes.make_index(
      table,
      rows.entity[first],
      cutoffs,
      support_cap=served.config.episodes.support_buckets[-1],
      query_start=rows.event[first],
      query_stop=rows.event[stop - 1] + 1,
  )
  return index, first


def _make_score_tasks(served: pipeline.Served):
  """Returns the jitted scorer of a chunk of tasks: [T, Q] probabilities."""
  model, config = served.assembly.model, served.config

  def member_logits(params, support, query):
    rates = inner_loop.make_learning_rates(
        params.meta_block, params.inner_rates, config.inner_loop
    )
    adapted, _ = inner_loop.adapt(
        params.meta_block,
        params.global_block,
        model.encode(params, support),
        loss_fn=served.assembly.loss_fn,
        learning_rates=rates,
        prior_rows=config.inner_loop.prior_rows,
        implementation=config.inner_loop.implementation,
    )
    return task_loss.task_logits(
        adapted,
        params.global_block,
        model.encode(params, query),
        embed=model.embed,
        logit=model.logit,
    )

  size = config.model.ensemble_size
  of_each = ensemble.each(member_logits, size, in_axes=(0, None, None))

  def score_task(members, support, query):
    logits = of_each(members, support, query)
    mean = jnp.mean(logits.reshape(size, -1), axis=0)
    scale, shift = served.half.calibration
    return jax.nn.sigmoid(scale * mean + shift)

  score_tasks = jax.vmap(score_task, in_axes=(None, 0, 0))
  return jax.jit(
      lambda params, support, query: score_tasks(
          params, model.index(support), model.index(query)
      )
  )


def _score_chunk(data, served, part, score_tasks) -> np.ndarray:
  num_tasks = part.entity.size
  missing = _NUM_TASKS - num_tasks
  pad = functools.partial(np.pad, pad_width=(0, missing))
  padded = episodes.EpisodeIndex(
      pad(part.entity, constant_values=-1), *map(pad, part[1:])
  )
  episode = episodes.assemble(
      data.table,
      padded,
      names=served.assembly.names,
      entity_type=data.info.entity_type,
      num_support=served.config.episodes.support_buckets[-1],
      num_query=_NUM_QUERY,
      weights=np.ones(_NUM_TASKS),
      half_lives=recency.half_lives(served.config.episodes),
  )
  scores = score_tasks(served.params, episode.support, episode.query)
  return np.asarray(jax.device_get(scores), np.float64)
