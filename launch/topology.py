"""Where a program is launched: what each launcher plans for."""

import math
import re
from typing import NamedTuple

from launch import job as job_lib

_CHIPS = re.compile(r'\d+x\d+(x\d+)?')


class Local(NamedTuple):
  """Processes on this machine.

  Attributes:
    num_processes: how many.
    devices_per_process: fake CPU devices of each; 0, for one process alone,
      leaves devices to jax.
    port: of 127.0.0.1, where the first process coordinates.
  """

  num_processes: int
  devices_per_process: int = 1
  port: int = 0


class Slurm(NamedTuple):
  """Tasks of a job of SLURM.

  Attributes:
    num_nodes: machines.
    num_tasks_per_node: processes on each.
    num_gpus_per_node: GPUs of each, or 0.
    num_cpus_per_task: cores of each process; None leaves them to SLURM.
    partition: queue; None is the default one.
    time: limit, as sbatch takes it; None is that of the partition.
    signal_seconds: before the limit, when to save and to queue again.
    max_restarts: of the program, in one allocation.
    options: others, for sbatch.
  """

  num_nodes: int
  num_tasks_per_node: int = 1
  num_gpus_per_node: int = 0
  num_cpus_per_task: int | None = None
  partition: str | None = None
  time: str | None = None
  signal_seconds: int = 120
  max_restarts: int = 20
  options: tuple[str, ...] = ()


class Kubernetes(NamedTuple):
  """Pods of a JobSet.

  Attributes:
    image: that the pods run.
    accelerator: of each pod: nvidia, tpu, or cpu for none.
    num_nodes: pods; on TPUs, pods of each slice.
    num_devices: GPUs or TPU chips of each pod.
    num_slices: of TPUs; 1 elsewhere.
    node_selector: labels that nodes must have.
    cpu: cores of each pod, as Kubernetes has it.
    memory: of each pod, likewise.
    claim: volume that all pods share.
    storage: size of that volume, if it is to be made.
    mount: where pods see it.
    namespace: None is that of the context.
    grace_seconds: to save after SIGTERM.
    max_restarts: after deaths; preemptions do not count.
  """

  image: str
  accelerator: str = 'cpu'
  num_nodes: int = 1
  num_devices: int = 0
  num_slices: int = 1
  node_selector: tuple[tuple[str, str], ...] = ()
  cpu: str = '2'
  memory: str = '8Gi'
  claim: str = 'limaml-state'
  storage: str | None = None
  mount: str = '/var/lib/limaml'
  namespace: str | None = None
  grace_seconds: int = 120
  max_restarts: int = 20


class TpuVm(NamedTuple):
  """Machines with TPUs.

  Attributes:
    name: of the request, and of the machines together.
    zone: of Google Cloud.
    accelerator_type: its number counts cores or chips.
    runtime_version: image of the machines.
    project: of Google Cloud; None is that of gcloud.
    is_spot: whether the machines may be taken away.
    valid_until_duration: how long to queue at most.
    nfs: HOST:/PATH that all mount, where they share one.
  """

  name: str
  zone: str
  accelerator_type: str
  runtime_version: str
  project: str | None = None
  is_spot: bool = False
  valid_until_duration: str | None = None
  nfs: str | None = None


def tpu_nodes(topology: str, num_devices: int) -> int:
  """Returns how many pods share a slice.

  Args:
    topology: of the slice, in chips.
    num_devices: chips of each pod.

  Raises:
    LaunchError: if it is none, or they cannot share it.
  """
  if not _CHIPS.fullmatch(topology):
    raise job_lib.LaunchError(
        f'--tpu_topology={topology}: give one like 4x4, or 2x2x2'
    )
  num_chips = math.prod(map(int, topology.split('x')))
  if not num_chips or num_chips % num_devices:
    raise job_lib.LaunchError(
        f'--tpu_topology={topology}: {num_chips} chips are not shared by pods'
        f' of {num_devices}; give what a machine has as --devices_per_node'
    )
  return num_chips // num_devices
