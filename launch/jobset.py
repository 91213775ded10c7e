"""A cluster on Kubernetes: a JobSet of pods that start and end together.

    https://jobset.sigs.k8s.io, 0.10 or newer (onJobFailureMessagePatterns)
"""

import pathlib
from typing import Any

from launch import job as job_lib
from launch import topology as topology_lib

Manifest = dict[str, Any]
# Where launch/schedules/Dockerfile puts the repository, and as whom it runs.
REPOSITORY = '/opt/limaml'
PYTHON = f'{REPOSITORY}/.venv/bin/python'
_USER = 10001
_PORT = 8476
_CONTAINER = 'program'
_POD_INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
# That of a process that SIGTERM killed before it could save, too: it is not
# PID 1 (shareProcessNamespace). Status 0 would count as done, and 75 as a
# death, of which there may be so many only.
PREEMPTED = 128 + 15
_HOPELESS = (1, 2, 3)  # Bad input, or a bug: the same again fails again.
_RESOURCES = {'nvidia': 'nvidia.com/gpu', 'tpu': 'google.com/tpu'}


def plan(
    topology: topology_lib.Kubernetes, job: job_lib.Job
) -> tuple[Manifest, ...]:
  """Returns the manifests: of the JobSet, and of its volume if it makes one.

  Args:
    topology: pods, and what they need.
    job: the program.
  """
  jobset = {
      'apiVersion': 'jobset.x-k8s.io/v1alpha2',
      'kind': 'JobSet',
      'metadata': _metadata(topology, job, job.name),
      'spec': {
          'failurePolicy': _failure_policy(topology),
          'network': {'enableDNSHostnames': True},
          'replicatedJobs': [{
              'name': 'worker',
              'replicas': topology.num_slices,
              'template': {'spec': _job(topology, job)},
          }],
      },
  }
  if topology.accelerator == 'tpu' and topology.num_nodes > 1:
    # The pods of a slice must not be spread over slices alike.
    jobset['metadata']['annotations'] = {
        'alpha.jobset.sigs.k8s.io/exclusive-topology': (
            'cloud.google.com/gke-nodepool'
        )
    }
  claims = (_claim(topology, job),) if topology.storage else ()
  return (*claims, jobset)


def arguments(
    topology: topology_lib.Kubernetes, job: job_lib.Job
) -> tuple[str, ...]:
  """Returns what a pod runs."""
  added = []
  if job.module == 'experiments.train':
    added.append(f'--preempted_status={PREEMPTED}')
  if job.module.startswith('experiments.'):  # The image is read-only.
    added.append(f'--compilation_cache={topology.mount}/compilation_cache')
  given = {word.partition('=')[0] for word in job.arguments}
  added = [word for word in added if word.partition('=')[0] not in given]
  job = job._replace(arguments=(*job.arguments, *added))
  return job_lib.argv(job, is_cluster=_num_processes(topology) > 1)


def check_workdir(job: job_lib.Job, mount: str) -> None:
  """Raises LaunchError where checkpoints would go down with a pod."""
  words = (*job.arguments, '')
  for word, following in zip(words, words[1:], strict=False):
    flag, is_joined, value = word.partition('=')
    path = pathlib.PurePosixPath(value if is_joined else following)
    if flag == '--workdir' and pathlib.PurePosixPath(mount) not in path.parents:
      raise job_lib.LaunchError(
          f'--workdir={path}: is not on the volume; give a folder under {mount}'
          ' (--mount)'
      )


def _num_processes(topology):
  return topology.num_slices * topology.num_nodes


def _metadata(topology, job, name) -> Manifest:
  metadata = {'name': name, 'labels': {'app': job.name}}
  if topology.namespace:
    metadata['namespace'] = topology.namespace
  return metadata


def _failure_policy(topology):
  """Says what the end of a Job means, by the words of Kubernetes for it."""
  hopeless = '|'.join(map(str, _HOPELESS))
  return {
      'maxRestarts': topology.max_restarts,
      'rules': [  # The first that matches; without one, a restart that counts.
          {
              'name': 'Hopeless',
              'action': 'FailJobSet',
              'onJobFailureReasons': ['PodFailurePolicy'],
              'onJobFailureMessagePatterns': [f'exit code ({hopeless}) '],
          },
          {
              'name': 'Preempted',
              'action': 'RestartJobSetAndIgnoreMaxRestarts',
              'onJobFailureReasons': ['PodFailurePolicy'],
          },
      ],
  }


def _pod_failure_policy():
  def on_statuses(*statuses):
    return {
        'action': 'FailJob',
        'onExitCodes': {
            'containerName': _CONTAINER,
            'operator': 'In',
            'values': list(statuses),
        },
    }

  return {
      'rules': [
          {  # Whatever a pod said while it was evicted.
              'action': 'FailJob',
              'onPodConditions': [
                  {'type': 'DisruptionTarget', 'status': 'True'}
              ],
          },
          on_statuses(*_HOPELESS),
          on_statuses(PREEMPTED),
      ]
  }


def _job(topology, job):
  return {
      'completionMode': 'Indexed',
      'completions': topology.num_nodes,
      'parallelism': topology.num_nodes,
      'backoffLimit': 0,  # One pod alone cannot go on: the JobSet restarts all.
      'podFailurePolicy': _pod_failure_policy(),
      'template': {
          'metadata': {'labels': {'app': job.name}},
          'spec': _pod(topology, job),
      },
  }


def _pod(topology, job):
  pod = {
      'restartPolicy': 'Never',  # Required by podFailurePolicy.
      'automountServiceAccountToken': False,
      # As PID 1 it would ignore SIGTERM until it has joined the others, and the
      # SIGABRT by which jax ends it.
      'shareProcessNamespace': True,
      'terminationGracePeriodSeconds': topology.grace_seconds,
      'securityContext': _pod_security(topology),
      'containers': [_container(topology, job)],
      'volumes': [
          {
              'name': 'state',
              'persistentVolumeClaim': {'claimName': topology.claim},
          },
          {'name': 'tmp', 'emptyDir': {}},
          # Of 64 MB else, too few for collectives between GPUs.
          {'name': 'memory', 'emptyDir': {'medium': 'Memory'}},
      ],
  }
  if topology.node_selector:
    pod['nodeSelector'] = dict(topology.node_selector)
  if resource := _RESOURCES.get(topology.accelerator):
    pod['tolerations'] = [
        {'key': resource, 'operator': 'Exists', 'effect': 'NoSchedule'}
    ]
  return pod


def _container(topology, job):
  return {
      'name': _CONTAINER,
      'image': topology.image,
      'workingDir': REPOSITORY,
      # $(NAME) would be replaced by a variable.
      'command': [
          word.replace('$(', '$$(') for word in arguments(topology, job)
      ],
      'env': _environment(topology, job),
      'resources': _resources(topology),
      'securityContext': _security(topology),
      'volumeMounts': [
          {'name': 'state', 'mountPath': topology.mount},
          {'name': 'tmp', 'mountPath': '/tmp'},
          {'name': 'memory', 'mountPath': '/dev/shm'},
      ],
  }


def _environment(topology, job):
  pairs = [*job.environment, ('PYTHONUNBUFFERED', '1'), ('HOME', '/tmp')]
  variables = [{'name': name, 'value': value} for name, value in pairs]
  if topology.accelerator == 'tpu' or _num_processes(topology) == 1:
    return variables  # On TPUs, jax finds the others by itself.
  first = f'{job.name}-worker-0-0.{job.name}:{_PORT}'
  count = str(_num_processes(topology))
  return [
      *variables,
      {'name': 'JAX_COORDINATOR_ADDRESS', 'value': first},
      {'name': 'JAX_NUM_PROCESSES', 'value': count},
      {
          'name': 'JAX_PROCESS_ID',
          'valueFrom': {'fieldRef': {'fieldPath': _POD_INDEX}},
      },
  ]


def _resources(topology):
  requests = {'cpu': topology.cpu, 'memory': topology.memory}
  limits = {'memory': topology.memory}
  if resource := _RESOURCES.get(topology.accelerator):
    requests[resource] = limits[resource] = str(topology.num_devices)
  return {'requests': requests, 'limits': limits}


def _pod_security(topology):
  if topology.accelerator == 'tpu':
    return {'runAsUser': 0}
  return {
      'runAsNonRoot': True,
      'runAsUser': _USER,
      'runAsGroup': _USER,
      'fsGroup': _USER,
      'seccompProfile': {'type': 'RuntimeDefault'},
  }


def _security(topology):
  if topology.accelerator == 'tpu':
    return {'privileged': True}  # To lock the memory that TPUs read.
  return {
      'allowPrivilegeEscalation': False,
      'readOnlyRootFilesystem': True,
      'capabilities': {'drop': ['ALL']},
  }


def _claim(topology, job):
  return {
      'apiVersion': 'v1',
      'kind': 'PersistentVolumeClaim',
      'metadata': _metadata(topology, job, topology.claim),
      'spec': {
          'accessModes': ['ReadWriteMany'],  # All pods write a checkpoint.
          'resources': {'requests': {'storage': topology.storage}},
      },
  }
