"""A cluster on this machine: what each of its processes runs."""

import socket

from launch import job as job_lib
from launch import topology as topology_lib


def plan(
    topology: topology_lib.Local, job: job_lib.Job
) -> tuple[job_lib.Command, ...]:
  """Returns what each process runs, in the order of their numbers.

  Raises:
    LaunchError: where each of several would take all devices.
  """
  is_cluster = topology.num_processes > 1
  if is_cluster and not topology.devices_per_process:
    raise job_lib.LaunchError(
        '--devices_per_process=0: each of'
        f' --num_processes={topology.num_processes} would take all devices of'
        ' this machine; give --num_processes=1, which uses all of them'
    )
  environment = [*job.environment, ('PYTHONUNBUFFERED', '1')]
  if topology.devices_per_process:
    environment += [
        ('JAX_PLATFORMS', 'cpu'),
        ('JAX_NUM_CPU_DEVICES', str(topology.devices_per_process)),
    ]
  if is_cluster:
    address = f'127.0.0.1:{topology.port}'
    environment += [
        ('JAX_COORDINATOR_ADDRESS', address),
        # Else it listens to the network, and asks nobody who they are.
        ('JAX_COORDINATOR_BIND_ADDRESS', address),
        ('JAX_NUM_PROCESSES', str(topology.num_processes)),
    ]
  argv = job_lib.argv(job, is_cluster=is_cluster)
  own = [
      ((('JAX_PROCESS_ID', str(index)),) if is_cluster else ())
      for index in range(topology.num_processes)
  ]
  return tuple(job_lib.Command(argv, (*environment, *one)) for one in own)


def free_port() -> int:
  """Returns a port of this machine that nobody listens to."""
  with socket.create_server(('127.0.0.1', 0)) as listener:
    return listener.getsockname()[1]
