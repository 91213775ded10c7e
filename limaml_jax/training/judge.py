"""Judge: the query loss of the parameters so far on held-out episodes."""

from collections.abc import Callable
import math

import jax
import jax.numpy as jnp

from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax import types
from limaml_jax.data import dataset
from limaml_jax.data import reader as reader_lib
from limaml_jax.training import assembly as assembly_lib
from limaml_jax.training import checkpoint
from limaml_jax.training import mesh as mesh_lib
from limaml_jax.training import row_exchange
from limaml_jax.training import state as state_lib
from limaml_jax.training import table_rows

JudgeFn = Callable[[types.BlockParams], dict[str, float]]


def make(
    config: config_lib.Config,
    table: dataset.TaskTable,
    info: dataset.DatasetInfo,
    *,
    assembly: assembly_lib.Assembly,
    shardings: types.BlockParams,
) -> JudgeFn:
  """Returns parameters -> {HOLDOUT_LOSS: mean}, or {} without a holdout.

  Entities are adapted to all of their support, as they are served. Of an
  ensemble it is the mean over members: one checkpoint is chosen for all.

  Raises:
    InputError: if no episode is held out.
    NotFiniteError: by what it returns, if the loss is not finite.
  """
  fraction = config.outer_loop.holdout_fraction
  if not fraction:
    return lambda params: {}
  steps = reader_lib.make_holdout(
      table,
      info,
      names=assembly.names,
      config=config,
      tasks=mesh_lib.local_tasks(
          config.episodes.tasks_per_step, assembly.mesh
      ),
  )
  if not len(steps):
    raise errors.InputError(
        f'setting outer_loop.holdout_fraction is {fraction}; no query of '
        f'{info.name} is as late as that, raise it'
    )
  losses = _make_losses(config, assembly, shardings)

  def judge(params):
    total = weight = 0.0
    for batch in steps:
      episodes = mesh_lib.put_by_task(batch.episodes, assembly.mesh)
      loss, own_weight = jax.device_get(losses(params, episodes))
      total += float(loss * own_weight)
      weight += float(own_weight)
    mean = total / weight
    if not math.isfinite(mean):
      raise errors.NotFiniteError(
          'the loss of the held-out episodes is not finite; lower '
          'inner_loop.learning_rate or outer_loop.learning_rate'
      )
    return {checkpoint.HOLDOUT_LOSS: mean}

  return judge


def _make_losses(config, assembly, shardings):
  """Returns (parameters, raw meta-batch) -> query loss and its weight."""
  meta_loss = assembly_lib.make_meta_loss(config, assembly)
  mesh = assembly.mesh
  axes = row_exchange.axes_of(mesh)

  def losses(params, meta_batch):
    indexed = state_lib.index_episodes(meta_batch, assembly.model.index)
    gathered = table_rows.gather(params.tables, indexed, axes=axes)
    _, found = meta_loss(
        params._replace(tables=gathered.rows), gathered.episodes
    )
    weight = jnp.sum(meta_batch.weight)
    total, weight = jax.lax.psum(
        (found.query_loss * weight, weight), mesh_lib.AXES
    )
    return total / jnp.maximum(weight, 1e-6), weight

  on_mesh = mesh_lib.on_each_device(
      losses,
      mesh,
      in_specs=(shardings, mesh_lib.by_task(mesh)),
      out_specs=mesh_lib.replicated(mesh),
  )
  return jax.jit(
      on_mesh, in_shardings=(shardings, mesh_lib.by_task(mesh))
  )
