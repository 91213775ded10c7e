"""A job of SLURM: the command that submits it."""

import pathlib
import re

from launch import job as job_lib
from launch import topology as topology_lib

SCRIPT = pathlib.Path(__file__).parent / 'slurm_job.py'
# Of sbatch(1): minutes, minutes:seconds, hours:minutes:seconds, and with days.
_LIMIT = re.compile(r'\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}')


def plan(
    topology: topology_lib.Slurm, job: job_lib.Job
) -> tuple[job_lib.Command, ...]:
  """Returns the command that submits the job.

  Raises:
    LaunchError: if the time limit is none.
  """
  if topology.time and not _LIMIT.fullmatch(topology.time):
    raise job_lib.LaunchError(
        f'--time={topology.time}: no time limit; give one like 4:00:00, or'
        ' 1-12:00:00 for a day and a half'
    )
  options = {
      'job-name': job.name,
      'partition': topology.partition,
      'nodes': topology.num_nodes,
      'ntasks-per-node': topology.num_tasks_per_node,
      'cpus-per-task': topology.num_cpus_per_task,
      'gpus-per-node': topology.num_gpus_per_node or None,
      'time': topology.time,
      'signal': f'B:USR1@{topology.signal_seconds}',
      'open-mode': 'append',  # A job that is queued again keeps its output.
      'output': f'{job.name}-%j.out',
  }
  given = [f'--{k}={v}' for k, v in options.items() if v is not None]
  is_cluster = topology.num_nodes * topology.num_tasks_per_node > 1
  argv = (
      'sbatch', '--requeue', *given, *topology.options, str(SCRIPT),
      f'--max_restarts={topology.max_restarts}', '--',
      *job_lib.argv(job, is_cluster=is_cluster),
  )  # fmt: skip
  return (job_lib.Command(argv, job.environment),)
