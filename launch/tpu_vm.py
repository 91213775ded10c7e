r"""Runs a program on TPU VMs of Google Cloud, asked for as queued resources.

    python -m launch.tpu_vm --name=limaml --zone=us-west4-a \
        --accelerator_type=v5litepod-16 --runtime_version=v2-alpha-tpuv5-lite \
        --nfs=10.0.0.2:/share --submit -- -m experiments.train \
        --data=/mnt/limaml/tasks --workdir=/mnt/limaml/run

Asks for the machines, waits until they are there, copies what is committed to
each, installs it, and starts the program there as a service, which starts it
again when it died. Run again, it goes on where it was. Needs gcloud and git.
"""

from collections.abc import Sequence
import pathlib
import shutil
import subprocess
import tempfile
import time

from absl import flags

from launch import command_line
from launch import job as job_lib
from launch import messages
from launch import queued_resources
from launch import topology as topology_lib

_NAME = flags.DEFINE_string('name', 'limaml', 'Of machines and service.')
_ZONE = flags.DEFINE_string('zone', None, 'Of Google Cloud.', required=True)
_PROJECT = flags.DEFINE_string(
    'project', None, 'Of Google Cloud. (default: that of gcloud)'
)
_ACCELERATOR_TYPE = flags.DEFINE_string(
    'accelerator_type', None, 'Such as v5litepod-16.', required=True
)
_RUNTIME_VERSION = flags.DEFINE_string(
    'runtime_version', None, 'Such as v2-alpha-tpuv5-lite.', required=True
)
_SPOT = flags.DEFINE_bool('spot', False, 'Cheaper, and may be taken away.')
_VALID_UNTIL = flags.DEFINE_string(
    'valid_until_duration', None, 'How long to queue at most, such as 6h.'
)
_NFS = flags.DEFINE_string(
    'nfs', None, 'HOST:/PATH that all machines mount at /mnt/limaml.'
)
_POLL_SECONDS = flags.DEFINE_float(
    'poll_seconds', 30, 'Between looks whether the machines are there.'
)

_ENDED = ('FAILED', 'SUSPENDED', 'SUSPENDING', 'DELETING')


def wait_for_machines(
    plan: queued_resources.Plan, poll_seconds: float
) -> None:
  """Asks for the machines unless they were, and returns once they are there.

  Raises:
    LaunchError: if they will not come.
  """
  state = _read(plan.state)
  if state is None:
    if command_line.act(plan.create):
      raise job_lib.LaunchError('gcloud did not take the request, see above')
    state = ''
  said = None
  while state != 'ACTIVE':
    if state != said:
      messages.say(f'waiting for machines: {state or "asked for"}')
      said = state
    if state in _ENDED:
      raise job_lib.LaunchError(
          f'the request for machines is {state}; give it back, and start again:'
          f' {plan.after["give the machines back"]}'
      )
    time.sleep(poll_seconds)
    state = _read(plan.state) or ''


def _read(command: job_lib.Command) -> str | None:
  """Returns what a command prints, or None where it fails."""
  result = subprocess.run(
      command.argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
      text=True, check=False,
  )  # fmt: skip
  return None if result.returncode else result.stdout.strip()


def show(plan: queued_resources.Plan) -> None:
  """Prints the commands."""
  print(f'{plan.create}\n# Until it prints ACTIVE:\n{plan.state}')
  for command in plan.start:
    print(command)
  for what, command in plan.after.items():
    print(f'# To {what}:\n# {command}')


def main(words: Sequence[str], program: Sequence[str]) -> int:
  """Starts the program after --, or prints how."""
  command_line.refuse_words(words)
  job = job_lib.parse(program, name=_NAME.value)
  topology = topology_lib.TpuVm(
      name=_NAME.value,
      zone=_ZONE.value,
      accelerator_type=_ACCELERATOR_TYPE.value,
      runtime_version=_RUNTIME_VERSION.value,
      project=_PROJECT.value,
      is_spot=_SPOT.value,
      valid_until_duration=_VALID_UNTIL.value,
      nfs=_NFS.value,
  )
  if not command_line.is_submitting():
    show(queued_resources.plan(topology, job))
    messages.say('nothing was done; --submit does it')
    return 0
  if shutil.which('gcloud') is None:
    raise job_lib.LaunchError(
        'gcloud: no such program here; without --submit, the commands are'
        ' printed, to be run elsewhere'
    )
  with tempfile.TemporaryDirectory() as folder:
    archive = str(pathlib.Path(folder, 'limaml.tar.gz'))
    commands = queued_resources.plan(topology, job, archive)
    wait_for_machines(commands, _POLL_SECONDS.value)
    status = command_line.carry_out(commands.start)
  for what, command in commands.after.items():
    messages.say(f'to {what}: {command}')
  return status


if __name__ == '__main__':
  command_line.run(main)
