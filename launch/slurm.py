r"""Submits a program to SLURM, as one process for each task of a job.

    python -m launch.slurm --nodes=2 --gpus_per_node=4 --time=4:00:00 --submit \
        -- -m experiments.train --data=DIR --workdir=DIR

The job lives through lost nodes, dead processes and its time limit: it is
started or queued again, and goes on from its checkpoint (slurm_job.py). What it
runs is found on all nodes under the folder it is submitted from.

    scancel --signal=TERM JOB    has it save a checkpoint and end
    scontrol requeue JOB         has it save, and go on later
"""

from collections.abc import Sequence
import sys

from absl import flags

from launch import command_line
from launch import job as job_lib
from launch import sbatch
from launch import topology as topology_lib

_NODES = flags.DEFINE_integer('nodes', 1, 'How many nodes.', lower_bound=1)
_GPUS_PER_NODE = flags.DEFINE_integer(
    'gpus_per_node', 0, 'GPUs of each node; 0 is without.', lower_bound=0
)
_TASKS_PER_NODE = flags.DEFINE_integer(
    'tasks_per_node',
    None,
    'Processes on each node; jax wants one for each GPU. (default: '
    '--gpus_per_node, or 1)',
    lower_bound=1,
)
_CPUS_PER_TASK = flags.DEFINE_integer(
    'cpus_per_task', None, 'Cores of each process.', lower_bound=1
)
_PARTITION = flags.DEFINE_string('partition', None, 'Where the job is queued.')
_TIME = flags.DEFINE_string('time', None, 'Limit, such as 4:00:00.')
_SIGNAL_SECONDS = flags.DEFINE_integer(
    'signal_seconds',
    120,
    'Before the time limit, the job saves and is queued again: by so much.',
    lower_bound=1,
)
_MAX_RESTARTS = flags.DEFINE_integer(
    'max_restarts',
    20,
    'How often to start again in one allocation.',
    lower_bound=0,
)
_NAME = flags.DEFINE_string('name', 'limaml', 'Of the job.')
_PYTHON = flags.DEFINE_string(
    'python', sys.executable, 'Interpreter, on all nodes.'
)
_SBATCH = flags.DEFINE_multi_string(
    'sbatch', [], 'Option for sbatch, such as --sbatch=--account=ACCOUNT.'
)


def main(words: Sequence[str], program: Sequence[str]) -> int:
  """Submits the program after --, or prints how."""
  command_line.refuse_words(words)
  job = job_lib.parse(program, name=_NAME.value, python=_PYTHON.value)
  topology = topology_lib.Slurm(
      num_nodes=_NODES.value,
      num_tasks_per_node=_TASKS_PER_NODE.value or _GPUS_PER_NODE.value or 1,
      num_gpus_per_node=_GPUS_PER_NODE.value,
      num_cpus_per_task=_CPUS_PER_TASK.value,
      partition=_PARTITION.value,
      time=_TIME.value,
      signal_seconds=_SIGNAL_SECONDS.value,
      max_restarts=_MAX_RESTARTS.value,
      options=tuple(_SBATCH.value),
  )
  return command_line.carry_out(sbatch.plan(topology, job))


if __name__ == '__main__':
  command_line.run(main)
