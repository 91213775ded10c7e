r"""Runs a program on Kubernetes: as a JobSet, or the refresh as a CronJob.

    python -m launch.kubernetes train --image=IMAGE --accelerator=nvidia \
        --nodes=2 --devices_per_node=8 -- -m experiments.train \
        --data=/var/lib/limaml/tasks --workdir=/var/lib/limaml/run
    python -m launch.kubernetes train --image=IMAGE --accelerator=tpu \
        --tpu_type=tpu-v5-lite-podslice --tpu_topology=4x4 -- -m ...
    python -m launch.kubernetes refresh --image=IMAGE --schedule='0 1 * * *'

Prints manifests, which --submit gives to `kubectl apply`. JobSets need the
controller of https://jobset.sigs.k8s.io, 0.10 or newer. To stop a run, after a
checkpoint: kubectl delete jobset NAME; the same command then goes on.
"""

from collections.abc import Sequence
import re

from absl import flags
import yaml

from launch import command_line
from launch import job as job_lib
from launch import jobset
from launch import refresh_cronjob
from launch import topology as topology_lib

_IMAGE = flags.DEFINE_string(
    'image', None, 'Made by launch/schedules/Dockerfile.', required=True
)
_NAME = flags.DEFINE_string('name', None, 'Of the JobSet or the CronJob.')
_NAMESPACE = flags.DEFINE_string(
    'namespace', None, 'Of what is made. (default: that of the context)'
)
_STORAGE = flags.DEFINE_string(
    'storage',
    None,
    'Size of the volume, such as 100Gi; `train` makes a volume only if told.',
)

# Of `train`.
_ACCELERATOR = flags.DEFINE_enum(
    'accelerator', 'cpu', ['cpu', 'nvidia', 'tpu'], 'Of each pod.'
)
_NODES = flags.DEFINE_integer(
    'nodes', 1, 'Pods, without TPUs.', lower_bound=1
)
_DEVICES_PER_NODE = flags.DEFINE_integer(
    'devices_per_node', None, 'GPUs (1) or TPU chips (4) of each pod.',
    lower_bound=1,
)  # fmt: skip
_TPU_TYPE = flags.DEFINE_string(
    'tpu_type', 'tpu-v5-lite-podslice', 'What GKE calls the accelerator.'
)
_TPU_TOPOLOGY = flags.DEFINE_string(
    'tpu_topology', None, 'Chips of a slice, such as 4x4.'
)
_TPU_SLICES = flags.DEFINE_integer(
    'tpu_slices', 1, 'How many slices.', lower_bound=1
)
_NODE_SELECTOR = flags.DEFINE_multi_string(
    'node_selector', [], 'Label that nodes must have, LABEL=VALUE.'
)
_CPU = flags.DEFINE_string('cpu', '2', 'Cores of each pod.')
_MEMORY = flags.DEFINE_string('memory', '8Gi', 'Of each pod.')
_CLAIM = flags.DEFINE_string(
    'claim', 'limaml-state', 'Volume of all pods, which all can write to.'
)
_MOUNT = flags.DEFINE_string('mount', '/var/lib/limaml', 'Where it is seen.')
_PYTHON = flags.DEFINE_string('python', jobset.PYTHON, 'Of the image.')
_GRACE_SECONDS = flags.DEFINE_integer(
    'grace_seconds', 120, 'To save, when a pod is to end.', lower_bound=1
)
_MAX_RESTARTS = flags.DEFINE_integer(
    'max_restarts',
    20,
    'After deaths; preemptions do not count.',
    lower_bound=0,
)

# Of `refresh`: what else launch/schedules/cronjob.yaml has.
_SCHEDULE = flags.DEFINE_string('schedule', None, 'As cron has it.')
_ZONE = flags.DEFINE_string('zone', None, 'Whose days and hours count.')
_VARIABLES = {
    'LIMAML_STORE': flags.DEFINE_string(
        'store', None, 'lmdb:PATH or redis://HOST:PORT/DB.'
    ),
    'LIMAML_LOGS': flags.DEFINE_string('logs', None, 'Globs of its files.'),
    'LIMAML_SCHEMA': flags.DEFINE_string('schema', None, 'What columns are.'),
    'LIMAML_DATA': flags.DEFINE_string('data', None, 'Dataset.'),
    'LIMAML_WORKDIR': flags.DEFINE_string('workdir', None, 'Of the training.'),
}

_LABEL = re.compile(r'[\w./-]+=[\w.-]*')


def _label(text: str) -> tuple[str, str]:
  if not _LABEL.fullmatch(text):
    raise job_lib.LaunchError(
        f'--node_selector={text}: give a label as LABEL=VALUE'
    )
  name, _, value = text.partition('=')
  return name, value


def _topology() -> topology_lib.Kubernetes:
  """Returns what the flags describe."""
  is_tpu = _ACCELERATOR.value == 'tpu'
  labels = [_label(text) for text in _NODE_SELECTOR.value]
  num_nodes = _NODES.value
  num_devices = _DEVICES_PER_NODE.value or (4 if is_tpu else 1)
  if is_tpu:
    if _TPU_TOPOLOGY.value is None:
      raise job_lib.LaunchError(
          '--accelerator=tpu: give --tpu_topology, such as 4x4'
      )
    num_nodes = topology_lib.tpu_nodes(_TPU_TOPOLOGY.value, num_devices)
    labels += [
        ('cloud.google.com/gke-tpu-accelerator', _TPU_TYPE.value),
        ('cloud.google.com/gke-tpu-topology', _TPU_TOPOLOGY.value),
    ]
  return topology_lib.Kubernetes(
      image=_IMAGE.value,
      accelerator=_ACCELERATOR.value,
      num_nodes=num_nodes,
      num_devices=0 if _ACCELERATOR.value == 'cpu' else num_devices,
      num_slices=_TPU_SLICES.value if is_tpu else 1,
      node_selector=tuple(labels),
      cpu=_CPU.value,
      memory=_MEMORY.value,
      claim=_CLAIM.value,
      storage=_STORAGE.value,
      mount=_MOUNT.value,
      namespace=_NAMESPACE.value,
      grace_seconds=_GRACE_SECONDS.value,
      max_restarts=_MAX_RESTARTS.value,
  )


def _train(program) -> tuple[jobset.Manifest, ...]:
  name = _NAME.value or 'limaml'
  job = job_lib.parse(program, name=name, python=_PYTHON.value)
  topology = _topology()
  jobset.check_workdir(job, topology.mount)
  return jobset.plan(topology, job)


def _refresh(program) -> tuple[refresh_cronjob.Manifest, ...]:
  if program:
    raise job_lib.LaunchError('refresh: takes no program after --')
  variables = {name: flag.value for name, flag in _VARIABLES.items()}
  return refresh_cronjob.plan(
      refresh_cronjob.Settings(
          image=_IMAGE.value,
          name=_NAME.value,
          namespace=_NAMESPACE.value,
          schedule=_SCHEDULE.value,
          zone=_ZONE.value,
          storage=_STORAGE.value,
          variables=tuple((k, v) for k, v in variables.items() if v),
      )
  )


def main(words: Sequence[str], program: Sequence[str]) -> int:
  """Applies the manifests, or prints them."""
  plans = {'train': _train, 'refresh': _refresh}
  if len(words) != 1 or words[0] not in plans:
    raise job_lib.LaunchError(
        f'{" ".join(words) or "no word"}: give train or refresh'
    )
  manifests = plans[words[0]](program)
  text = yaml.safe_dump_all(manifests, sort_keys=False, width=80)
  command = job_lib.Command(('kubectl', 'apply', '--filename=-'), text=text)
  return command_line.carry_out([command])


if __name__ == '__main__':
  command_line.run(main)
