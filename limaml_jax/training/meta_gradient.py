"""The meta-gradient on the mesh: each device its tasks, in parts that fit."""

import functools
import logging

import jax
from jax.sharding import PartitionSpec

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
  """Returns the meta loss and its gradient, means over the tasks of the mesh.

  Gradients are summed over devices once in a step.

  Args:
    meta_loss: of a meta-batch, leaves [T, ...].
    mesh: whose axis `tasks` divides T.
    memory_budget_bytes: as `TrainingConfig` has it.
  """

  def on_mesh(num_microbatches):
    return jax.shard_map(
        microbatches.make_meta_gradient(
            meta_loss, num_microbatches=num_microbatches, axis=mesh_lib.TASKS
        ),
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec(mesh_lib.TASKS)),
        out_specs=PartitionSpec(),
        check_vma=False,  # Else the gradient is summed in each microbatch.
    )

  def meta_gradient(params, meta_batch):
    # One device's: shard_map shows the program that a device runs.
    predict_bytes = functools.cache(
        lambda number: program.predict(
            on_mesh(number), params, meta_batch
        ).temp_bytes
    )
    number = _num_microbatches(
        meta_batch, predict_bytes, mesh, memory_budget_bytes
    )
    return on_mesh(number)(params, meta_batch)

  return meta_gradient


def _num_microbatches(
    meta_batch: types.Episode, predict_bytes, mesh, budget_bytes
) -> int:
  num_tasks = meta_batch.weight.shape[0] // mesh.shape[mesh_lib.TASKS]
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
