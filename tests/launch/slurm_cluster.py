"""A SLURM of two virtual nodes on this machine, for the tests of launch.slurm.

    python -m tests.launch.slurm_cluster start|stop

Needs root. `start` installs what is missing by apt-get (Debian, Ubuntu), and
writes /etc/slurm/slurm.conf, unless another's is there; `stop` ends what it
started.
"""

import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time

_MARK = '# Written by tests/launch/slurm_cluster.py.\n'
_CONFIG = pathlib.Path('/etc/slurm/slurm.conf')
_HOSTS = pathlib.Path('/etc/hosts')
_RUN = pathlib.Path('/run/limaml-slurm')
_SPOOL = pathlib.Path('/var/spool/limaml-slurm')
_KEY = pathlib.Path('/etc/munge/munge.key')
_NODES = ('limaml1', 'limaml2')
_SECONDS = 30  # Each daemon is up in one or two.
_SETTINGS = """\
ClusterName=limaml
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=26817
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=cred_expire=5
StateSaveLocation={spool}/state
SlurmctldPidFile={run}/slurmctld.pid
SlurmctldLogFile={run}/slurmctld.log
SlurmdPidFile={run}/slurmd-%n.pid
SlurmdLogFile={run}/slurmd-%n.log
SlurmdSpoolDir={spool}/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
KillWait={kill_wait}
JobRequeue=1
"""


def start() -> str:
  """Starts it if it is not there.

  Returns:
    Why it cannot be had, or nothing.
  """
  if os.geteuid():
    return 'only root can start it'
  if _CONFIG.exists() and not _CONFIG.read_text().startswith(_MARK):
    return f'{_CONFIG} is that of another SLURM'
  if reason := _install():
    return reason
  _name_nodes()
  _write_config()
  _start_munge()
  if not _is_running('slurmctld'):
    _run('slurmctld')
  for node in _NODES:
    if not _is_running(f'slurmd-{node}'):
      _run('slurmd', '-N', node)
  return _wait_for_nodes()


def stop() -> None:
  """Ends the daemons, jobs first."""
  if not _is_running('slurmctld'):
    return
  subprocess.run(['scancel', '--user=root'], check=False)
  for path in (*sorted(_RUN.glob('slurmd-*.pid')), _RUN / 'slurmctld.pid'):
    pid = int(path.read_text())
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _SECONDS
    while pathlib.Path(f'/proc/{pid}').exists() and time.monotonic() < deadline:
      time.sleep(0.05)


def _install() -> str:
  if all(map(shutil.which, ('slurmctld', 'slurmd', 'sbatch', 'munged'))):
    return ''
  if not shutil.which('apt-get'):
    return 'there is no apt-get to install it with'
  for words in (
      ('update',),
      ('install', '--yes', '--no-install-recommends', 'slurm-wlm', 'munge'),
  ):
    # The daemons are started here, with this configuration.
    result = subprocess.run(
        ['timeout', '300', 'apt-get', '--quiet', *words],
        env=os.environ | {'DEBIAN_FRONTEND': 'noninteractive', 'RUNLEVEL': '1'},
        capture_output=True,
        check=False,
    )
    if result.returncode:
      return 'apt-get cannot get slurm-wlm and munge'
  return ''


def _name_nodes() -> None:
  """Lets the name of a node be resolved: jax takes the coordinator's so."""
  lines = _HOSTS.read_text().splitlines()
  missing = [n for n in _NODES if not any(n in line.split() for line in lines)]
  if missing:
    with _HOSTS.open('a') as file:
      file.write(f'127.0.0.1 {" ".join(missing)}\n')


def _write_config() -> None:
  host = socket.gethostname().partition('.')[0]
  for folder in (_RUN, _SPOOL / 'state', *(_SPOOL / node for node in _NODES)):
    folder.mkdir(parents=True, exist_ok=True)
  lines = [_MARK, _SETTINGS.format(host=host, run=_RUN, spool=_SPOOL,
                                   kill_wait=20)]  # fmt: skip
  for index, node in enumerate(_NODES):
    lines.append(
        f'NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1'
        f' Port={27001 + index} CPUs={os.cpu_count()} State=UNKNOWN\n'
    )
  nodes = f'Nodes={",".join(_NODES)}'
  lines.append(
      f'PartitionName=cpu {nodes} Default=YES PriorityTier=1 GraceTime=60\n'
      f'PartitionName=urgent {nodes} PriorityTier=2 PreemptMode=OFF\n'
  )
  _CONFIG.parent.mkdir(parents=True, exist_ok=True)
  _CONFIG.write_text(''.join(lines))


def _start_munge() -> None:
  if subprocess.run(['munge', '-n'], capture_output=True).returncode == 0:
    return
  run = pathlib.Path('/run/munge')
  run.mkdir(parents=True, exist_ok=True)
  if not _KEY.exists():
    _KEY.write_bytes(secrets.token_bytes(1024))
  for path in (run, _KEY.parent, _KEY):
    shutil.chown(path, 'munge', 'munge')
  _KEY.chmod(0o400)
  _run('setpriv', '--reuid=munge', '--regid=munge', '--clear-groups', 'munged')


def _is_running(name: str) -> bool:
  path = _RUN / f'{name}.pid'
  if not path.exists():
    return False
  program = pathlib.Path(f'/proc/{path.read_text().strip()}/comm')
  return program.exists() and program.read_text().startswith('slurm')


def _wait_for_nodes() -> str:
  deadline = time.monotonic() + _SECONDS
  while time.monotonic() < deadline:
    states = subprocess.run(
        ['sinfo', '--noheader', '--Node', '--partition=cpu', '--format=%N %T'],
        capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip
    if len(states) == 2 * len(_NODES) and not any('*' in s for s in states):
      if not {'unknown', 'down'} & set(states):
        return ''
    time.sleep(0.1)
  return f'its nodes do not come up; see {_RUN}'


def _run(*words: str) -> None:
  subprocess.run(words, check=True, timeout=_SECONDS)


if __name__ == '__main__':
  sys.exit((start() if sys.argv[1:] == ['start'] else stop()) or None)
