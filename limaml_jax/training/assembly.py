"""Puts a run together: network, losses, reader and optimizers from settings.

Every binary that trains or restores goes through here, so that they all mean
the same thing by a configuration.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from limaml_jax import config as config_lib
from limaml_jax import overrides
from limaml_jax import types
from limaml_jax.blocks import ensemble
from limaml_jax.blocks import model as model_lib
from limaml_jax.data import dataset
from limaml_jax.data import episodes
from limaml_jax.meta import objective as objective_lib
from limaml_jax.meta import outer_loop
from limaml_jax.meta import task_loss
from limaml_jax.training import checkpoint
from limaml_jax.training import mesh as mesh_lib
from limaml_jax.training import optimizer
from limaml_jax.training import state as state_lib

_KEPT = 4  # As many networks as `loop` keeps compiled.


class Assembly(NamedTuple):
  """What a configuration means for one dataset.

  Attributes:
    model: the network.
    loss_fn: mean loss of one encoded support set.
    query_loss_fn: mean loss of one encoded query.
    objective: what meta-training minimizes, where it is another.
    names: of the features that the network reads.
    mesh: of the devices.
  """

  model: model_lib.Model
  loss_fn: types.TaskLossFn
  query_loss_fn: types.QueryLossFn
  objective: objective_lib.ObjectiveFn | None
  names: episodes.FeatureNames
  mesh: jax.sharding.Mesh


def assemble(
    config: config_lib.Config,
    info: dataset.DatasetInfo,
    *,
    mesh_rows: int | None = None,
) -> Assembly:
  """Builds the network of a configuration for a prepared dataset.

  Args:
    config: of the run.
    info: of the dataset.
    mesh_rows: of the mesh, where it is not that of training: the parameters
      keep their shapes on any number of devices.

  Returns:
    The same one for the same settings, whatever the seed: what is traced and
    compiled for it serves all runs of a process.
  """
  return _assemble(
      overrides.without_seed(config),
      info,
      mesh_rows or config.training.mesh_rows,
  )


@functools.lru_cache(maxsize=_KEPT)
def _assemble(config, info, mesh_rows) -> Assembly:
  model = model_lib.make_model(
      config,
      specs=info.features,
      entity_type=info.entity_type,
      entity_feature=info.entity_feature,
  )
  return Assembly(
      model=model,
      loss_fn=task_loss.make_task_loss(model.embed, model.inner_logit),
      query_loss_fn=task_loss.make_query_loss(
          model.embed,
          model.logit,
          pooling=config.model.meta_block.pooling,
      ),
      objective=_make_objective(config, model),
      names=episodes.FeatureNames(
          meta=tuple(spec.name for spec in model.meta_specs),
          regular=tuple(spec.name for spec in model.global_specs),
      ),
      mesh=mesh_lib.make_mesh(mesh_rows),
  )


def bring_home(
    assembly: Assembly, params: types.BlockParams
) -> tuple[Assembly, types.BlockParams]:
  """Returns them on this process's devices, for what it computes alone.

  Args:
    assembly: of a mesh of all devices.
    params: replicated over all devices.
  """
  if jax.process_count() == 1:
    return assembly, params
  mesh = mesh_lib.make_mesh(1, jax.local_devices())
  return assembly._replace(mesh=mesh), mesh_lib.bring_home(params, mesh)


def _make_objective(
    config: config_lib.Config, model: model_lib.Model
) -> objective_lib.ObjectiveFn | None:
  if objective_lib.is_plain(config.outer_loop):
    return None
  return objective_lib.make_objective(
      model.embed,
      model.logit,
      pooling=config.model.meta_block.pooling,
      config=config.outer_loop,
  )


def make_meta_loss(
    config: config_lib.Config,
    assembly: Assembly,
    *,
    objective: objective_lib.ObjectiveFn | None = None,
) -> outer_loop.MetaLossFn:
  """Returns the meta loss of all members of the ensemble.

  What is minimized is their sum, so that each learns what it would alone; the
  losses beside it are their means.

  Args:
    config: of the run.
    assembly: its network.
    objective: what is minimized; the query loss when left out.
  """
  size = config.model.ensemble_size
  member_loss = outer_loop.make_meta_loss(
      encode=assembly.model.encode,
      loss_fn=assembly.loss_fn,
      query_loss_fn=assembly.query_loss_fn,
      config=config.inner_loop,
      objective=objective,
  )
  if size == 1:
    return member_loss
  of_each = ensemble.each(member_loss, size, in_axes=(0, None))

  def meta_loss(params, meta_batch):
    found = of_each(ensemble.divide(params, size), meta_batch)
    minimized, losses = jax.tree.map(lambda x: jnp.sum(x, axis=0), found)
    return minimized, jax.tree.map(lambda x: x / size, losses)

  return meta_loss


def make_optimizers(
    config: config_lib.Config, num_steps: int
) -> state_lib.Optimizers:
  """Returns the outer loop's optimizers for a run of `num_steps` steps."""
  return state_lib.Optimizers(
      dense=optimizer.dense_optimizer(
          config.outer_loop, num_steps, ensemble_size=config.model.ensemble_size
      ),
      table=optimizer.table_optimizer(config.outer_loop, num_steps),
  )


def abstract_state(
    config: config_lib.Config, assembly: Assembly
) -> state_lib.TrainState:
  """Describes the state of a run, for restoring it."""
  create, shardings = state_lib.make_create(
      assembly.model.init,
      make_optimizers(config, num_steps=1),
      assembly.mesh,
  )
  state = jax.eval_shape(create, jax.random.key(0))
  return checkpoint.abstract(state, shardings)
