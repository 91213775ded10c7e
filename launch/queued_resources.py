"""Machines with TPUs: the commands that ask for them, and start a program."""

import re
import shlex
from typing import NamedTuple

from launch import job as job_lib
from launch import topology as topology_lib

MOUNT = '/mnt/limaml'
_ARCHIVE = 'limaml.tar.gz'
_FOLDER = 'limaml'  # In the home folder of each machine.
_PYTHON = f'{_FOLDER}/.venv/bin/python'
_TYPE = re.compile(r'v\w+-(\d+)')
_NFS_FORM = re.compile(r'[\w.-]+:/\S*')
_ONE_MACHINE = 8  # The largest number in the type of one; of cores or chips.


class Plan(NamedTuple):
  """The commands of a launch.

  Attributes:
    state: prints where the request stands; fails if there is none.
    create: asks for the machines.
    start: what follows once they are there, in this order.
    after: what a user may do then, by name.
  """

  state: job_lib.Command
  create: job_lib.Command
  start: tuple[job_lib.Command, ...]
  after: dict[str, job_lib.Command]


def plan(
    topology: topology_lib.TpuVm, job: job_lib.Job, archive: str = _ARCHIVE
) -> Plan:
  """Returns the commands.

  Args:
    topology: the machines.
    job: the program; its interpreter is the one that is installed there.
    archive: file on this machine that the repository is packed into.

  Raises:
    LaunchError: for a type or a share that is none.
  """
  match = _TYPE.fullmatch(topology.accelerator_type)
  if match is None:
    raise job_lib.LaunchError(
        f'--accelerator_type={topology.accelerator_type}: give one like'
        ' v5litepod-16'
    )
  if topology.nfs is not None and not _NFS_FORM.fullmatch(topology.nfs):
    raise job_lib.LaunchError(
        f'--nfs={topology.nfs}: give HOST:/PATH, as 10.0.0.2:/share'
    )
  is_cluster = int(match.group(1)) > _ONE_MACHINE
  return Plan(
      state=_gcloud(
          topology, 'queued-resources', 'describe', topology.name,
          '--format=value(state.state)',
      ),
      create=_create(topology),
      start=(
          job_lib.Command(
              ('git', 'archive', '--format=tar.gz', f'--output={archive}',
               'HEAD')
          ),
          _gcloud(
              topology, 'tpu-vm', 'scp', archive,
              f'{topology.name}:{_ARCHIVE}', '--worker=all', '--quiet',
          ),
          _ssh(topology, *_install()),
          *_mount(topology),
          _ssh(topology, ('cd', _FOLDER), _service(topology, job, is_cluster)),
      ),
      after=_after(topology),
  )  # fmt: skip


def _gcloud(topology, *words) -> job_lib.Command:
  where = [f'--zone={topology.zone}']
  if topology.project:
    where.append(f'--project={topology.project}')
  return job_lib.Command(('gcloud', 'compute', 'tpus', *words, *where))


def _ssh(topology, *commands, worker='all') -> job_lib.Command:
  """Returns what runs commands on machines, as long as none fails."""
  text = ' && '.join(map(shlex.join, commands))
  return _gcloud(
      topology, 'tpu-vm', 'ssh', topology.name, f'--worker={worker}', '--quiet',
      f'--command={text}',
  )  # fmt: skip


def _create(topology) -> job_lib.Command:
  options = {
      'node-id': topology.name,
      'accelerator-type': topology.accelerator_type,
      'runtime-version': topology.runtime_version,
      'valid-until-duration': topology.valid_until_duration,
  }
  given = [f'--{name}={value}' for name, value in options.items() if value]
  if topology.is_spot:
    given.append('--spot')
  return _gcloud(
      topology, 'queued-resources', 'create', topology.name, *given
  )


def _install():
  """Returns what unpacks and installs; Python comes with uv: theirs is old."""
  uv = ('python3', '-m', 'uv')
  return (
      ('mkdir', '-p', _FOLDER),
      ('tar', '-xzf', _ARCHIVE, '-C', _FOLDER),
      ('python3', '-m', 'pip', 'install', '--user', '--quiet', 'uv'),
      (*uv, 'venv', '--allow-existing', '--python=3.12', f'{_FOLDER}/.venv'),
      (
          *uv, 'pip', 'install', f'--python={_PYTHON}',
          f'--requirement={_FOLDER}/requirements.lock', 'jax[tpu]',
      ),
  )  # fmt: skip


def _mount(topology):
  if topology.nfs is None:
    return ()
  # Mounted already when the program is started again.
  mount = ('sudo', 'mount', '-t', 'nfs', topology.nfs, MOUNT)
  test = shlex.join(('mountpoint', '--quiet', MOUNT))
  return (
      _ssh(
          topology,
          ('sudo', 'apt-get', 'install', '--yes', '--quiet', 'nfs-common'),
          ('sudo', 'mkdir', '-p', MOUNT),
          ('sh', '-c', f'{test} || {shlex.join(mount)}'),
      ),
  )


def _service(topology, job, is_cluster):
  """Returns what starts the program so that it outlives the connection."""
  job = job._replace(python='.venv/bin/python')
  python, *program = job_lib.argv(job, is_cluster=is_cluster)
  return (
      'sudo', 'systemd-run', f'--unit={topology.name}', '--same-dir',
      '--collect', '--property=KillMode=mixed',
      '--property=TimeoutStopSec=180', '/usr/bin/env', python, '-m',
      'launch.local', '--devices_per_process=0', '--submit', '--',
      *(word.replace('$', '$$') for word in program),  # For systemd.
  )  # fmt: skip


def _after(topology):
  name = topology.name
  follow = ('sudo', 'journalctl', f'--unit={name}', '--output=cat', '--follow')
  stop = ('sudo', 'systemctl', 'stop', name)
  return {
      'see its output': _ssh(topology, follow, worker='0'),
      'have it save and end': _ssh(topology, stop),
      'give the machines back': _gcloud(
          topology, 'queued-resources', 'delete', name, '--force', '--quiet'
      ),
  }
