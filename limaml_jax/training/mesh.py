"""The devices as one mesh: tasks along one axis, table rows along the other."""

import jax
from jax.sharding import AxisType
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from limaml_jax import errors
from limaml_jax import types

TASKS = 'tasks'
ROWS = 'rows'


def make_mesh(mesh_rows: int) -> jax.sharding.Mesh:
  """Returns all devices as a (tasks, rows) mesh.

  Raises:
    InputError: if the devices do not divide by `mesh_rows`.
  """
  num_devices = jax.device_count()
  if mesh_rows < 1 or num_devices % mesh_rows:
    raise errors.InputError(
        f'training.mesh_rows is {mesh_rows}, but there are {num_devices} '
        'devices; choose a divisor of that number'
    )
  return jax.make_mesh(
      (num_devices // mesh_rows, mesh_rows),
      (TASKS, ROWS),
      axis_types=(AxisType.Auto, AxisType.Auto),
  )


def check_divides(num_tasks: int, mesh: jax.sharding.Mesh) -> None:
  """Refuses a meta-batch that does not shard evenly."""
  if num_tasks % mesh.shape[TASKS]:
    raise errors.InputError(
        f'episodes.tasks_per_step is {num_tasks}, which the '
        f'{mesh.shape[TASKS]} devices along mesh axis "{TASKS}" do not '
        'divide; choose a multiple'
    )


def replicated(mesh: jax.sharding.Mesh) -> NamedSharding:
  """Every device holds the whole array."""
  return NamedSharding(mesh, PartitionSpec())


def by_task(mesh: jax.sharding.Mesh) -> NamedSharding:
  """The leading axis, T, is divided over mesh axis `tasks`."""
  return NamedSharding(mesh, PartitionSpec(TASKS))


def by_row(mesh: jax.sharding.Mesh) -> NamedSharding:
  """The leading axis, V, is divided over mesh axis `rows`."""
  return NamedSharding(mesh, PartitionSpec(ROWS))


def put_by_task(tree: types.Params, mesh: jax.sharding.Mesh) -> types.Params:
  """Places this process's tasks, numpy leaves [T, ...], on the mesh."""
  sharding = by_task(mesh)
  place = lambda x: jax.make_array_from_process_local_data(sharding, x)
  return jax.tree.map(place, tree)
