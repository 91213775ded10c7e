"""The meta-gradient on one device of the mesh: its tasks, in parts that fit."""

import functools
import logging

import jax
import jax.numpy as jnp

from limaml_jax import types
from limaml_jax.meta import microbatches
from limaml_jax.meta import outer_loop
from limaml_jax.training import mesh as mesh_lib
from limaml_jax.training import program

_LOGGER = logging.getLogger(__name__)

# On CPUs a step runs fastest while what it holds stays near the caches.
_CPU_BYTES = 32 * 10**6


def make(
    meta_loss: outer_loop.MetaLossFn,
    *,
    mesh: jax.sharding.Mesh,
    memory_budget_bytes: int = 0,
) -> microbatches.MetaGradientFn:
  """Returns the meta loss and its gradient, for one device under `shard_map`.

  It is given the device's tasks, and the rows of tables that they read. Losses
  and the gradient of dense parameters are means over the tasks of all devices,
  summed over them once in a step. The gradient of rows is the device's own
  part of such a mean: the parts of all devices are still to be added up.

  Args:
    meta_loss: of a meta-batch, leaves [T, ...].
    mesh: that the function runs on, whose size divides T.
    memory_budget_bytes: as `TrainingConfig` has it.
  """
  in_parts = functools.cache(
      lambda number: microbatches.make_meta_gradient(
          meta_loss, num_microbatches=number
      )
  )

  def meta_gradient(params, meta_batch):
    predict_bytes = functools.cache(
        lambda number: program.predict(
            in_parts(number), params, meta_batch
        ).temp_bytes
    )
    number = _num_microbatches(
        meta_batch, predict_bytes, mesh, memory_budget_bytes
    )
    found = in_parts(number)(params, meta_batch)
    return _reduce(found, jnp.sum(meta_batch.weight), mesh)

  return meta_gradient


def _reduce(found, weight: jax.Array, mesh: jax.sharding.Mesh):
  """Turns means over one device's tasks into means over all, by one sum."""
  (loss, losses), grads = jax.tree.map(lambda x: x / mesh.size, found)
  losses = jax.tree.map(lambda x: x * weight, losses)
  dense = grads._replace(tables={})
  loss, losses, weight, dense = jax.lax.psum(
      (loss, losses, weight / mesh.size, dense), mesh_lib.AXES
  )
  losses = jax.tree.map(lambda x: x / jnp.maximum(weight, 1e-6), losses)
  return (loss, losses), dense._replace(tables=grads.tables)


def _num_microbatches(
    meta_batch: types.Episode, predict_bytes, mesh, budget_bytes
) -> int:
  num_tasks = meta_batch.weight.shape[0]
  number, allowed = 1, 'as much as there is'
  if budget_bytes:
    number = microbatches.choose_number(
        num_tasks, predict_bytes, budget_bytes=budget_bytes
    )
    allowed = f'{budget_bytes / 1e6:.3g} MB'
  elif mesh.devices.flat[0].platform == 'cpu':
    number = microbatches.choose_near(
        num_tasks, predict_bytes(1), budget_bytes=_CPU_BYTES
    )
  exceeds = budget_bytes and predict_bytes(number) > budget_bytes
  _LOGGER.log(
      logging.WARNING if exceeds else logging.INFO,
      'Gradient in %d microbatches, predicted to hold %.3g MB on a device '
      'of %s allowed (training.memory_budget_bytes)',
      number,
      predict_bytes(number) / 1e6,
      allowed,
  )
  return number
