"""Reads meta-batches in a reproducible order, from any step on.

The tasks are in memory, read once from ArrayRecord (`tasks.task_table`). Grain
draws from them: it indexes the plan by the global step, drops support at random
by a seed of its own for each step, and assembles ahead in a thread. A step is
the same whoever reads it, from whichever step on, and on however many processes
its tasks are divided over.
"""

import dataclasses
import functools
import threading
from typing import NamedTuple

import grain
import numpy as np

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.data import buckets
from limaml_jax.data import dataset
from limaml_jax.data import episodes
from limaml_jax.data import holdout
from limaml_jax.data import recency


class MetaBatch(NamedTuple):
  """What one outer step learns from.

  Attributes:
    episodes: leaves [T, ...]; of this process's tasks alone where there are
      several processes.
    identity: number of each episode in the plan, -1 for padding, [T].
  """

  episodes: types.Episode
  identity: np.ndarray


class BatchPlan:
  """Which episodes form which step's meta-batch: a random-access source.

  Episodes of one bucket of padded sizes go together; each epoch shuffles them
  and the order of the meta-batches. Every episode occurs once per epoch.
  """

  def __init__(
      self,
      index: episodes.EpisodeIndex,
      *,
      config: config_lib.EpisodeConfig,
      num_epochs: int,
      seed: int,
  ):
    self.index = index
    self._config = config
    self._num_epochs = num_epochs
    self._seed = seed
    self._members = _bucket_members(index, config)
    self.steps_per_epoch = sum(
        -(-members.size // config.tasks_per_step)
        for members in self._members.values()
    )
    self._lock = threading.Lock()
    self._epochs = functools.lru_cache(maxsize=2)(self._plan_epoch)

  def __len__(self) -> int:
    return self.steps_per_epoch * self._num_epochs

  def __getitem__(
      self, index: int
  ) -> tuple[tuple[int, int], np.ndarray, float]:
    """Returns the padded sizes (S, Q) and the episodes, [T], of a step.

    Last comes which part of training is over, from 0 to 1 in the last step.
    """
    epoch, position = divmod(int(index), self.steps_per_epoch)
    with self._lock:  # Grain's threads ask for neighbouring steps at once.
      sizes, identity = self._epochs(epoch)[position]
    return sizes, identity, index / max(len(self) - 1, 1)

  def _plan_epoch(self, epoch: int) -> list[tuple[tuple[int, int], np.ndarray]]:
    rng = np.random.default_rng([self._seed, epoch])
    num_tasks = self._config.tasks_per_step
    batches = []
    for sizes, members in sorted(self._members.items()):
      order = rng.permutation(members)
      padding = np.full(-order.size % num_tasks, -1)
      rows = np.concatenate([order, padding]).reshape(-1, num_tasks)
      batches += [(sizes, row) for row in rows]
    return [batches[i] for i in rng.permutation(len(batches))]


def choose_buckets(
    index: episodes.EpisodeIndex, config: config_lib.EpisodeConfig
) -> tuple[tuple[int, ...], tuple[int, ...]]:
  """Returns the padded sizes of supports and of queries, ascending."""
  support_sizes, query_sizes = index.sizes()
  return (
      buckets.choose(
          support_sizes, config.support_buckets, config.num_support_buckets
      ),
      buckets.choose(
          query_sizes, config.query_buckets, config.num_query_buckets
      ),
  )


def _bucket_members(
    index: episodes.EpisodeIndex, config: config_lib.EpisodeConfig
) -> dict[tuple[int, int], np.ndarray]:
  """Groups episodes by the smallest padded sizes that hold them."""
  support_sizes, query_sizes = index.sizes()
  support_buckets, query_buckets = choose_buckets(index, config)
  support = buckets.pad_to(support_sizes, support_buckets)
  query = buckets.pad_to(query_sizes, query_buckets)
  members = {}
  for sizes in sorted(set(zip(support.tolist(), query.tolist(), strict=True))):
    chosen = (support == sizes[0]) & (query == sizes[1])
    members[sizes] = np.flatnonzero(chosen)
  return members


class _DrawMetaBatch:
  """Drops support at random and assembles one step's meta-batch."""

  def __init__(self, table, index, *, names, info, config, uses_support, tasks):
    self._table = table
    self._index = index
    self._names = names
    self._info = info
    self._config = config
    self._uses_support = uses_support
    self._tasks = tasks
    # What the first n events of all weigh, for any n.
    totals = np.cumsum(table.weights, dtype=np.float64)
    self._weight_before = np.concatenate([[0.0], totals])
    self._mean_query = np.sum(self._query_weights(index)) / max(
        index.entity.size, 1
    )

  def __call__(self, element, rng: np.random.Generator) -> MetaBatch:
    (num_support, num_query), identity, progress = element
    chosen = self._index.take(np.maximum(identity, 0))
    real = identity >= 0
    chosen = chosen._replace(entity=np.where(real, chosen.entity, -1))
    available = chosen.support_stop - chosen.support_start
    probability = dropout_probability(self._config, progress)
    kept = _drop_support(available, rng, probability)
    forgotten = (kept == 0) & (available > 0)
    # Drawn for all tasks, so that they are the same on any number of processes.
    chosen = chosen.take(self._tasks)
    real, kept, forgotten = (x[self._tasks] for x in (real, kept, forgotten))
    if not self._uses_support:
      num_support, kept = 1, np.zeros_like(kept)
    chosen = chosen._replace(support_start=chosen.support_stop - kept)
    meta_batch = episodes.assemble(
        self._table,
        chosen,
        names=self._names,
        entity_type=self._info.entity_type,
        num_support=num_support,
        num_query=num_query,
        weights=self._weights(chosen, real),
        half_lives=recency.half_lives(self._config),
    )
    _forget_identity(
        meta_batch, forgotten, self._info.entity_type, self._info.entity_feature
    )
    return MetaBatch(meta_batch, identity)

  def _weights(self, chosen, real) -> np.ndarray:
    if self._config.task_weighting == 'task':
      return real.astype(np.float32)
    return real * self._query_weights(chosen) / self._mean_query

  def _query_weights(self, index) -> np.ndarray:
    before = self._weight_before
    return before[index.query_stop] - before[index.query_start]


def dropout_probability(
    config: config_lib.EpisodeConfig, progress: float
) -> float:
  """Returns the support dropout when such a part of training is over."""
  start, end = config.support_dropout, config.support_dropout_end
  return start if end < 0 else start + progress * (end - start)


def _drop_support(
    available: np.ndarray, rng: np.random.Generator, probability: float
) -> np.ndarray:
  """Returns how many of its latest support rows each episode keeps, [T]."""
  drops = rng.random(available.size) < probability
  fewer = rng.integers(0, available + 1)
  return np.where(drops, fewer, available)


def _forget_identity(
    meta_batch: types.Episode,
    forgotten: np.ndarray,
    entity_type: types.EntityType,
    entity_feature: str,
) -> None:
  """Sets the entity's ID to out of vocabulary, in place, where forgotten."""
  for examples in (meta_batch.support, meta_batch.query):
    ids = examples.meta_features[entity_type].get(entity_feature)
    if ids is not None:
      ids[forgotten] = 0


def make_reader(
    table: dataset.TaskTable,
    info: dataset.DatasetInfo,
    *,
    names: episodes.FeatureNames,
    config: config_lib.Config,
    since: int = 0,
    tasks: np.ndarray | None = None,
) -> tuple[grain.MapDataset, BatchPlan]:
  """Returns meta-batches by global step, and the plan behind them.

  Args:
    table: all tasks.
    info: of the dataset.
    names: of the features that the network reads, and where they go.
    config: `episodes`, `outer_loop` and `training.seed` are read,
      and whether the model reads the support.
    since: UTC seconds; earlier events are support alone.
    tasks: which of each step's T are read, ascending; all when left out.
  """
  index = episodes.plan(table, info, config.episodes, since=since)
  if config.outer_loop.holdout_fraction:
    index, _ = holdout.split(table, index, config.outer_loop.holdout_fraction)
  return _make_reader(
      index, table, info, names=names, config=config, tasks=tasks
  )


def make_holdout(
    table: dataset.TaskTable,
    info: dataset.DatasetInfo,
    *,
    names: episodes.FeatureNames,
    config: config_lib.Config,
    tasks: np.ndarray | None = None,
) -> grain.MapDataset:
  """Returns the held-out episodes in meta-batches, nothing dropped.

  Arguments are those of `make_reader`.
  """
  index = episodes.plan(table, info, config.episodes)
  _, index = holdout.split(table, index, config.outer_loop.holdout_fraction)
  whole = dataclasses.replace(
      config.episodes, support_dropout=0.0, support_dropout_end=-1.0
  )
  once = dataclasses.replace(config.outer_loop, num_epochs=1)
  config = dataclasses.replace(config, episodes=whole, outer_loop=once)
  return _make_reader(
      index, table, info, names=names, config=config, tasks=tasks
  )[0]


def _make_reader(index, table, info, *, names, config, tasks):
  seed = config.training.seed
  batch_plan = BatchPlan(
      index,
      config=config.episodes,
      num_epochs=config.outer_loop.num_epochs,
      seed=seed,
  )
  # Without inner steps only a history and inputs that vary by event come from
  # the support; otherwise its rows of tables would be stepped for nothing.
  varies = not all(name in table.entity_features for name in names.meta)
  is_read = varies or config.model.meta_block.reads_history
  if tasks is None:
    tasks = np.arange(config.episodes.tasks_per_step)
  draw = _DrawMetaBatch(
      table,
      index,
      names=names,
      info=info,
      config=config.episodes,
      uses_support=config.inner_loop.num_steps > 0 or is_read,
      tasks=tasks,
  )
  steps = grain.MapDataset.source(batch_plan).seed(seed).random_map(draw)
  return steps, batch_plan


def iterate(
    steps: grain.MapDataset, first_step: int = 0
) -> grain.DatasetIterator:
  """Starts a prefetching iterator at a step, whoever read those before."""
  options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)
  return iter(steps[first_step:].to_iter_dataset(options))
