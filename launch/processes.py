"""A cluster on this machine: what each of its processes runs."""

import socket

from launch import job as job_lib
from launch import topology as topology_lib


def plan(
    topology: topology_lib.Local, job: job_lib.Job
) -> tuple[job_lib.Command, ...]:
  """Returns what each process runs, in the order of their numbers."""
  is_cluster = topology.num_processes > 1
  environment = [*job.environment, ('PYTHONUNBUFFERED', '1')]
  if topology.devices_per_process:
    environment += [
        ('JAX_PLATFORMS', 'cpu'),
        ('JAX_NUM_CPU_DEVICES', str(topology.devices_per_process)),
    ]
  if is_cluster:
    environment += [
        ('JAX_COORDINATOR_ADDRESS', f'127.0.0.1:{topology.port}'),
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
