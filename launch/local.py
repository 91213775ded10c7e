r"""Runs a program as a cluster of processes on this machine.

    python -m launch.local --num_processes=2 --devices_per_process=4 --submit \
        -- -m experiments.train --data=DIR --workdir=DIR

Each line of output starts with the number of its process. When one dies, all
are started again, and go on from their checkpoint. Ctrl-C or SIGTERM has all
save a checkpoint and end; once more kills them.
"""

from collections.abc import Sequence
import sys

from absl import flags

from launch import command_line
from launch import job as job_lib
from launch import messages
from launch import processes
from launch import supervisor
from launch import topology as topology_lib

_DEFAULTS = supervisor.Policy()
_NUM_PROCESSES = flags.DEFINE_integer(
    'num_processes', 1, 'How many processes to start.', lower_bound=1
)
_DEVICES_PER_PROCESS = flags.DEFINE_integer(
    'devices_per_process',
    1,
    'CPU devices that jax pretends to have in each process; 0 leaves the '
    'choice of devices to jax, for one process.',
    lower_bound=0,
)
_MAX_RESTARTS = flags.DEFINE_integer(
    'max_restarts',
    _DEFAULTS.max_restarts,
    'How often to start again after a death by signal or status 75.',
    lower_bound=0,
)
_GRACE_SECONDS = flags.DEFINE_float(
    'grace_seconds',
    _DEFAULTS.grace_seconds,
    'What the others have to end by themselves once one has died.',
    lower_bound=0,
)
_MAX_DELAY_SECONDS = flags.DEFINE_float(
    'max_delay_seconds',
    _DEFAULTS.max_delay_seconds,
    'The longest that it waits before it starts all again; it waits longer '
    'with each quick death in succession.',
    lower_bound=0,
)


def main(words: Sequence[str], program: Sequence[str]) -> int:
  """Runs the program after --, or prints how."""
  command_line.refuse_words(words)
  job = job_lib.parse(program, python=sys.executable)

  def make_commands():
    # A port of before may still be held by what is left of its connections.
    topology = topology_lib.Local(
        _NUM_PROCESSES.value, _DEVICES_PER_PROCESS.value, processes.free_port()
    )
    return processes.plan(topology, job)

  if command_line.is_submitting():
    policy = supervisor.Policy(
        _MAX_RESTARTS.value,
        _GRACE_SECONDS.value,
        max_delay_seconds=_MAX_DELAY_SECONDS.value,
    )
    return supervisor.run(make_commands, policy)
  for command in make_commands():
    print(f'{command} &')
  print('wait')
  messages.say('nothing was run; --submit does it, and restarts')
  return 0


if __name__ == '__main__':
  command_line.run(main)
