"""One outer step of meta-training on a table of some size, compiled."""

from typing import NamedTuple

import jax
import numpy as np

from limaml_jax import config as config_lib
from limaml_jax import overrides
from limaml_jax import types
from limaml_jax.blocks import model as model_lib
from limaml_jax.meta import outer_loop
from limaml_jax.meta import task_loss
from limaml_jax.training import mesh as mesh_lib
from limaml_jax.training import optimizer
from limaml_jax.training import state as state_lib

SUPPORT = QUERY = 16
DIMENSION = 16
_USERS = 1000


class OuterStep(NamedTuple):
  """What a step takes and is.

  Attributes:
    compiled: (state, meta-batch) -> (state, metrics); the state is consumed.
    state: before the first step.
    batch: tasks that read rows from all over the table, on the devices.
  """

  compiled: jax.stages.Compiled
  state: state_lib.TrainState
  batch: types.Episode


def make_config(*, table_optimizer: str, mesh_rows: int) -> config_lib.Config:
  """Returns settings of a run whose table is divided over devices."""
  return overrides.override(
      config_lib.Config(),
      {
          'outer_loop.table_optimizer': table_optimizer,
          'model.max_table_dimension': DIMENSION,
          'model.meta_block.embedding_size': DIMENSION,
          'training.mesh_rows': mesh_rows,
      },
  )


def compile_step(
    config: config_lib.Config, *, num_rows: int, num_tasks: int
) -> OuterStep:
  """Compiles the outer step for all devices.

  Args:
    config: of `make_config`.
    num_rows: of the table.
    num_tasks: T, of all devices.
  """
  model = model_lib.make_model(
      config,
      specs=(
          types.FeatureSpec('user', 'categorical', 'entity', 'meta', _USERS),
          types.FeatureSpec('age', 'numeric', 'entity', 'meta'),
          types.FeatureSpec('item', 'categorical', 'item', 'global', num_rows),
      ),
      entity_type='user',
      entity_feature='user',
  )
  mesh = mesh_lib.make_mesh(config.training.mesh_rows)
  optimizers = state_lib.Optimizers(
      dense=optimizer.dense_optimizer(config.outer_loop, num_steps=1000),
      table=optimizer.table_optimizer(config.outer_loop, num_steps=1000),
  )
  create, shardings = state_lib.make_create(model.init, optimizers, mesh)
  state = create(jax.random.key(0))
  update: jax.stages.Wrapped = state_lib.make_meta_update(  # pyrefly: ignore
      _meta_loss(model, config),
      optimizers,
      index=model.index,
      shardings=shardings,
      mesh=mesh,
  )
  batch = mesh_lib.put_by_task(_batch(num_rows, num_tasks), mesh)
  return OuterStep(update.lower(state, batch).compile(), state, batch)


def _meta_loss(
    model: model_lib.Model, config: config_lib.Config
) -> outer_loop.MetaLossFn:
  return outer_loop.make_meta_loss(
      encode=model.encode,
      loss_fn=task_loss.make_task_loss(model.embed, model.inner_logit),
      query_loss_fn=task_loss.make_query_loss(
          model.embed, model.logit, pooling='latest'
      ),
      config=config.inner_loop,
  )


def _batch(num_rows: int, num_tasks: int) -> types.Episode:
  """Returns tasks that read rows from all over the table, leaves [T, ...]."""
  rng = np.random.default_rng(0)
  users = rng.integers(0, _USERS, (num_tasks, 1), np.int32)
  ages = rng.normal(size=(num_tasks, 1)).astype(np.float32)
  # A step's work is in its distinct rows: the same number of any table, where
  # it has so many.
  num_reads = num_tasks * (SUPPORT + QUERY)
  again = num_reads > num_rows
  items = iter(rng.choice(num_rows, num_reads, replace=again))

  def examples(size):
    shape = (num_tasks, size)
    read = np.fromiter(items, np.int32, num_tasks * size)
    return types.Examples(
        meta_features={'user': {'user': users, 'age': ages}},
        features={'item': read.reshape(shape)},
        labels=(rng.random(shape) < 0.3).astype(np.float32),
        mask=np.ones(shape, np.float32),
    )

  return types.Episode(
      support=examples(SUPPORT),
      query=examples(QUERY),
      weight=np.ones(num_tasks, np.float32),
  )
