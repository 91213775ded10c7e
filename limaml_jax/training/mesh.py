"""The devices as one mesh (tasks, rows).

Every device learns from tasks of its own; what is divided over axis `rows`
alone are the rows of embedding tables, of which each row of devices along it
holds one copy.
"""

from collections.abc import Callable
from collections.abc import Sequence
import functools

import jax
from jax.sharding import AxisType
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec
import numpy as np

from limaml_jax import errors
from limaml_jax import types

TASKS = 'tasks'
ROWS = 'rows'
# All devices.
AXES = (TASKS, ROWS)


def make_mesh(
    mesh_rows: int, devices: Sequence[jax.Device] | None = None
) -> jax.sharding.Mesh:
  """Returns devices as a (tasks, rows) mesh.

  Args:
    mesh_rows: devices along axis `rows`.
    devices: all of the job when left out.

  Raises:
    InputError: if the devices do not divide by `mesh_rows`.
  """
  num_devices = jax.device_count() if devices is None else len(devices)
  if mesh_rows < 1 or num_devices % mesh_rows:
    raise errors.InputError(
        f'training.mesh_rows is {mesh_rows}, but there are {num_devices} '
        'devices; choose a divisor of that number'
    )
  return jax.make_mesh(
      (num_devices // mesh_rows, mesh_rows),
      (TASKS, ROWS),
      axis_types=(AxisType.Auto, AxisType.Auto),
      devices=devices,
  )


def check_divides(num_tasks: int, mesh: jax.sharding.Mesh) -> None:
  """Refuses a meta-batch that does not shard evenly."""
  if num_tasks % mesh.size:
    raise errors.InputError(
        f'episodes.tasks_per_step is {num_tasks}, which {mesh.size} devices do '
        'not divide; choose a multiple'
    )


def replicated(mesh: jax.sharding.Mesh) -> NamedSharding:
  """Every device holds the whole array."""
  return NamedSharding(mesh, PartitionSpec())


def by_task(mesh: jax.sharding.Mesh) -> NamedSharding:
  """The leading axis, T, is divided over all devices."""
  return NamedSharding(mesh, PartitionSpec(AXES))


def by_row(mesh: jax.sharding.Mesh) -> NamedSharding:
  """The leading axis, V, is divided over mesh axis `rows`."""
  return NamedSharding(mesh, PartitionSpec(ROWS))


def on_each_device(
    function: Callable, mesh: jax.sharding.Mesh, *, in_specs, out_specs
) -> Callable:
  """Returns `function` of whole arrays, which it is shown a device's part of.

  Args:
    function: may sum and gather over mesh axes `AXES`.
    mesh: of the devices.
    in_specs: shardings of its arguments, or their PartitionSpecs.
    out_specs: of what it returns; what is replicated must be equal everywhere.
  """
  specs = functools.partial(
      jax.tree.map,
      lambda s: s.spec if isinstance(s, NamedSharding) else s,
      is_leaf=lambda s: isinstance(s, (NamedSharding, PartitionSpec)),
  )
  return jax.shard_map(
      function,
      mesh=mesh,
      in_specs=specs(in_specs),
      out_specs=specs(out_specs),
      check_vma=False,  # Else a gradient is summed in each microbatch.
  )


def local_tasks(num_tasks: int, mesh: jax.sharding.Mesh) -> np.ndarray:
  """Returns which of T tasks this process's devices hold, ascending."""
  slices = by_task(mesh).addressable_devices_indices_map((num_tasks,))
  mine = np.zeros(num_tasks, bool)
  for held in slices.values():
    mine[held] = True
  return np.flatnonzero(mine)


def bring_home(
    tree: types.Params, mesh: jax.sharding.Mesh
) -> types.Params:
  """Copies what every device of a job holds whole to devices of this process.

  Args:
    tree: leaves replicated over all devices.
    mesh: of this process's devices.
  """
  sharding = replicated(mesh)
  # Through the host: who has it already need not ask the others.
  fetch = lambda x: np.asarray(x.addressable_data(0))
  return jax.tree.map(lambda x: jax.device_put(fetch(x), sharding), tree)


def put_by_task(tree: types.Params, mesh: jax.sharding.Mesh) -> types.Params:
  """Places this process's tasks, numpy leaves [T, ...], on the mesh."""
  sharding = by_task(mesh)
  if not mesh.is_multi_process:
    # In one call: one for each leaf may take as long as a step.
    return jax.device_put(tree, sharding)
  place = lambda x: jax.make_array_from_process_local_data(sharding, x)
  return jax.tree.map(place, tree)
