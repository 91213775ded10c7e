"""Manifests of the launcher: valid, and what the programs need."""

import pathlib
import re
import subprocess
import sys

from absl.testing import absltest
from absl.testing import parameterized
import yaml

from launch import job as job_lib
from launch import jobset
from launch import refresh_cronjob
from launch import topology as topology_lib
from tests.launch import manifests
from tests.launch import schemas

ROOT = pathlib.Path(__file__).parents[2]
JOB = job_lib.parse(
    ['-m', 'experiments.train', '--data=a b', '--workdir=$(HOME)'],
    name='limaml-7',
    python='py',
)
GPUS = topology_lib.Kubernetes(
    image='image:1',
    accelerator='nvidia',
    num_nodes=2,
    num_devices=8,
    node_selector=(('gpu', 'h100'),),
    storage='10Gi',
    namespace='ml',
)
TPUS = topology_lib.Kubernetes(
    image='image:1',
    accelerator='tpu',
    num_nodes=4,
    num_devices=4,
    num_slices=2,
    node_selector=(('cloud.google.com/gke-tpu-topology', '4x4'),),
)
ALONE = topology_lib.Kubernetes(image='image:1')
TOPOLOGIES = (('gpus', GPUS), ('tpus', TPUS), ('alone', ALONE))


def launch(*words):
  return subprocess.run(
      [sys.executable, '-m', 'launch.kubernetes', *words],
      cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
  )  # fmt: skip


def pod_of(manifest):
  return schemas.job_of(manifest)['spec']['template']['spec']


class SchemaTest(parameterized.TestCase):

  @parameterized.named_parameters(*TOPOLOGIES)
  def test_train_is_valid(self, topology):
    for manifest in jobset.plan(topology, JOB):
      self.assertEmpty(schemas.problems(manifest))

  def test_refresh_is_valid(self):
    manifests = refresh_cronjob.plan(refresh_cronjob.Settings('image:1'))
    self.assertLen(manifests, 2)
    for manifest in manifests:
      self.assertEmpty(schemas.problems(manifest))

  @parameterized.product(version=('1.31', '1.37'))
  def test_kubernetes_accepts_what_is_its_own(self, version):
    claim, manifest = jobset.plan(GPUS, JOB)
    refresh = refresh_cronjob.plan(refresh_cronjob.Settings('image:1'))
    documents = [claim, schemas.job_of(manifest), *refresh]
    documents.append(schemas.job_of(jobset.plan(TPUS, JOB)[0]))
    said = schemas.of_core(documents, version)
    if said is None:
      self.skipTest('MANIFESTS NOT VALIDATED by kubernetes-validate: not there')
    self.assertEqual(said, '')
    # And it would not accept anything.
    wrong = manifests.plant(documents[1], ('spec', 'completions'), 'two')
    self.assertIn('two', schemas.of_core([wrong], version))

  @parameterized.named_parameters(
      ('unknown_field', ('spec', 'failurePolicie'), {}, 'unknown field'),
      ('text_for_a_number', ('spec', 'failurePolicy', 'maxRestarts'), 'four',
       'maxRestarts'),
      ('rule_without_action', ('spec', 'failurePolicy', 'rules', 0),
       {'name': 'a'}, 'action: is missing'),
      ('unknown_in_a_rule',
       ('spec', 'failurePolicy', 'rules', 0, 'onExitCodes'), [],
       'unknown field'),
      ('unknown_in_the_job',
       ('spec', 'replicatedJobs', 0, 'template', 'spec', 'backoff'), 1,
       'unknown field'),
      ('text_in_the_job',
       ('spec', 'replicatedJobs', 0, 'template', 'spec', 'parallelism'), '2',
       'parallelism'),
      ('unknown_in_the_pod',
       ('spec', 'replicatedJobs', 0, 'template', 'spec', 'template', 'spec',
        'container'), [], 'unknown field'),
      ('number_for_a_variable',
       ('spec', 'replicatedJobs', 0, 'template', 'spec', 'template', 'spec',
        'containers', 0, 'env', 0, 'value'), 1, 'value'),
      ('other_version', ('apiVersion',), 'jobset.x-k8s.io/v1', 'no model'),
  )  # fmt: skip
  def test_a_planted_error_is_found(self, path, value, message):
    _, manifest = jobset.plan(GPUS, JOB)
    found = schemas.problems(manifests.plant(manifest, path, value))
    self.assertNotEmpty(found)
    self.assertIn(message, found[0])


class FailurePolicyTest(parameterized.TestCase):
  """Follows a pod's end through the rules of its Job and of the JobSet."""

  def setUp(self):
    super().setUp()
    (self.jobset,) = jobset.plan(ALONE, JOB)
    self.rules = self.jobset['spec']['failurePolicy']['rules']
    self.job = schemas.job_of(self.jobset)['spec']

  def message(self, status, is_disrupted):
    """Returns that of a failed Job, as Kubernetes writes it, or nothing."""
    for index, rule in enumerate(self.job['podFailurePolicy']['rules']):
      self.assertEqual(rule['action'], 'FailJob')
      end = f'matching FailJob rule at index {index}'
      if is_disrupted and 'onPodConditions' in rule:
        (condition,) = rule['onPodConditions']
        self.assertEqual(condition['status'], 'True')
        return f'Pod ml/x has condition {condition["type"]} {end}'
      codes = rule.get('onExitCodes', {'values': []})
      if status in codes['values']:
        name = codes['containerName']
        start = f'Container {name} for pod ml/x failed with exit code'
        return f'{start} {status} {end}'
    return ''

  @parameterized.named_parameters(
      ('bad_input', 1, False, 'FailJobSet'),
      ('wrong_setting', 2, False, 'FailJobSet'),
      ('refused', 3, False, 'FailJobSet'),
      ('lost_peer', 75, False, 'RestartJobSet'),
      ('killed', 137, False, 'RestartJobSet'),
      ('aborted', 134, False, 'RestartJobSet'),
      ('preempted', 143, False, 'RestartJobSetAndIgnoreMaxRestarts'),
      ('evicted', 143, True, 'RestartJobSetAndIgnoreMaxRestarts'),
      ('evicted_amid_a_bug', 1, True, 'RestartJobSetAndIgnoreMaxRestarts'),
      ('node_lost', 137, True, 'RestartJobSetAndIgnoreMaxRestarts'),
  )
  def test_a_pod_that_ends(self, status, is_disrupted, expected):
    message = self.message(status, is_disrupted)
    reason = 'PodFailurePolicy' if message else 'BackoffLimitExceeded'
    actions = [
        rule['action']
        for rule in self.rules
        if reason in rule['onJobFailureReasons']
        and any(
            re.search(pattern, message)
            for pattern in rule.get('onJobFailureMessagePatterns', [''])
        )
    ]
    self.assertEqual([*actions, 'RestartJobSet'][0], expected)

  def test_one_death_ends_the_job(self):
    self.assertEqual(self.job['backoffLimit'], 0)
    pod = self.job['template']['spec']
    self.assertEqual(pod['restartPolicy'], 'Never')
    names = {
        rule['onExitCodes']['containerName']
        for rule in self.job['podFailurePolicy']['rules']
        if 'onExitCodes' in rule
    }
    self.assertEqual(names, {pod['containers'][0]['name']})

  def test_signals_end_the_program(self):
    # The kernel spares PID 1, which is another then.
    self.assertIs(self.job['template']['spec']['shareProcessNamespace'], True)

  def test_rules_are_called_as_jobset_wants(self):
    names = [rule['name'] for rule in self.rules]
    self.assertLen(set(names), len(names))
    for name in names:
      self.assertRegex(name, r'^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$')


class TrainTest(parameterized.TestCase):

  def container(self, topology, job=JOB):
    (container,) = pod_of(jobset.plan(topology, job)[-1])['containers']
    return container

  def variables(self, topology):
    return {one['name']: one for one in self.container(topology)['env']}

  def test_runs_the_program(self):
    self.assertEqual(
        self.container(GPUS)['command'],
        [
            'py', '-m', 'experiments.train', '--data=a b',
            '--workdir=$$(HOME)',  # Not to be replaced by a variable.
            '--preempted_status=143',
            '--compilation_cache=/var/lib/limaml/compilation_cache',
            '--multihost',
        ],
    )  # fmt: skip

  def test_keeps_what_is_said_of_status_and_cache(self):
    given = ('--preempted_status=9', '--compilation_cache=')
    job = job_lib.Job('experiments.train', given, python='py')
    command = self.container(ALONE, job)['command']
    self.assertEqual(command, ['py', '-m', 'experiments.train', *given])

  def test_adds_no_flags_to_programs_that_know_none(self):
    job = job_lib.Job('mine', python='py')
    command = self.container(ALONE, job)['command']
    self.assertEqual(command, ['py', '-m', 'mine'])

  def test_each_pod_is_told_its_place(self):
    variables = self.variables(GPUS)
    self.assertEqual(variables['JAX_NUM_PROCESSES']['value'], '2')
    # Pods: JOBSET-REPLICATED_JOB-JOB-POD, in the subdomain of the JobSet.
    self.assertEqual(
        variables['JAX_COORDINATOR_ADDRESS']['value'],
        'limaml-7-worker-0-0.limaml-7:8476',
    )
    (manifest,) = jobset.plan(GPUS, JOB)[1:]
    (replicated,) = manifest['spec']['replicatedJobs']
    self.assertEqual(replicated['name'], 'worker')
    self.assertTrue(manifest['spec']['network']['enableDNSHostnames'])
    self.assertEqual(
        variables['JAX_PROCESS_ID']['valueFrom']['fieldRef']['fieldPath'],
        "metadata.annotations['batch.kubernetes.io/job-completion-index']",
    )
    job = schemas.job_of(manifest)['spec']
    shape = [job[k] for k in ('completionMode', 'completions', 'parallelism')]
    self.assertEqual(shape, ['Indexed', 2, 2])

  @parameterized.named_parameters(('tpus', TPUS), ('alone', ALONE))
  def test_nothing_is_told_where_jax_finds_out_or_is_alone(self, topology):
    names = {name for name in self.variables(topology) if name[:3] == 'JAX'}
    self.assertEmpty(names)

  def test_gpus(self):
    pod = pod_of(jobset.plan(GPUS, JOB)[1])
    resources = pod['containers'][0]['resources']
    for part in ('requests', 'limits'):
      self.assertEqual(resources[part]['nvidia.com/gpu'], '8')
    self.assertEqual(pod['nodeSelector'], {'gpu': 'h100'})
    self.assertEqual(pod['tolerations'][0]['key'], 'nvidia.com/gpu')

  def test_tpus(self):
    (manifest,) = jobset.plan(TPUS, JOB)
    (replicated,) = manifest['spec']['replicatedJobs']
    self.assertEqual(replicated['replicas'], 2)
    job = schemas.job_of(manifest)['spec']
    self.assertEqual(job['completions'], 4)
    pod = pod_of(manifest)
    resources = pod['containers'][0]['resources']
    self.assertEqual(resources['limits']['google.com/tpu'], '4')
    self.assertIn('--multihost', pod['containers'][0]['command'])
    self.assertEqual(
        manifest['metadata']['annotations'],
        {
            'alpha.jobset.sigs.k8s.io/exclusive-topology': (
                'cloud.google.com/gke-nodepool'
            )
        },
    )

  @parameterized.named_parameters(*TOPOLOGIES)
  def test_all_pods_share_a_volume(self, topology):
    pod = pod_of(jobset.plan(topology, JOB)[-1])
    mounts = {m['mountPath']: m['name'] for m in self.mounts(pod)}
    volumes = {volume['name']: volume for volume in pod['volumes']}
    self.assertEqual(set(mounts.values()), set(volumes))
    volume = volumes[mounts['/var/lib/limaml']]
    self.assertEqual(
        volume['persistentVolumeClaim'], {'claimName': 'limaml-state'}
    )
    self.assertEqual(pod['terminationGracePeriodSeconds'], 120)

  def mounts(self, pod):
    return pod['containers'][0]['volumeMounts']

  def test_the_volume_is_made_if_told(self):
    claim, manifest = jobset.plan(GPUS, JOB)
    self.assertEqual(claim['metadata']['name'], 'limaml-state')
    self.assertEqual(claim['spec']['accessModes'], ['ReadWriteMany'])
    for one in (claim, manifest):
      self.assertEqual(one['metadata']['namespace'], 'ml')
    self.assertLen(jobset.plan(GPUS._replace(storage=None), JOB), 1)

  def test_names_of_pods_are_short_enough(self):
    name = 'a' + 39 * '9'
    job = job_lib.parse(['-m', 'x'], name=name)
    self.assertLessEqual(len(f'{job.name}-worker-999-9999-12345'), 63)
    with self.assertRaisesRegex(job_lib.LaunchError, '--name=a9'):
      job_lib.parse(['-m', 'x'], name=name + '9')


class TpuNodesTest(parameterized.TestCase):

  @parameterized.parameters(
      ('4x4', 4, 4),
      ('2x4', 4, 2),
      ('2x4', 8, 1),
      ('2x2x2', 4, 2),
      ('1x1', 1, 1),
  )
  def test_shares_the_chips(self, topology, num_devices, expected):
    self.assertEqual(topology_lib.tpu_nodes(topology, num_devices), expected)

  @parameterized.parameters(('4', 4), ('4x', 4), ('1x1', 4), ('0x4', 4))
  def test_refuses_what_cannot_be_shared(self, topology, num_devices):
    with self.assertRaisesRegex(job_lib.LaunchError, '--tpu_topology='):
      topology_lib.tpu_nodes(topology, num_devices)


class RefreshTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    text = refresh_cronjob.TEMPLATE.read_text()
    self.template = list(yaml.safe_load_all(text))

  def plan(self, **fields):
    settings = refresh_cronjob.Settings(image='image:1', **fields)
    return list(refresh_cronjob.plan(settings))

  def container(self, manifests):
    spec = manifests[1]['spec']['jobTemplate']['spec']['template']['spec']
    return spec['containers'][0]

  def values(self, manifests):
    variables = self.container(manifests)['env']
    return {one['name']: one.get('value') for one in variables}

  def test_is_the_template_with_another_image(self):
    self.container(self.template)['image'] = 'image:1'
    self.assertEqual(self.plan(), self.template)

  def test_fills_in_what_is_given(self):
    manifests = self.plan(
        name='nightly', namespace='ml', schedule='5 2 * * *',
        zone='Asia/Shanghai', storage='9Gi',
        variables=(('LIMAML_LOGS', '/x/*.csv'),),
    )  # fmt: skip
    claim, cron_job = manifests
    self.assertEqual(claim['spec']['resources']['requests']['storage'], '9Gi')
    self.assertEqual(cron_job['metadata']['name'], 'nightly')
    self.assertEqual(cron_job['spec']['schedule'], '5 2 * * *')
    self.assertEqual(cron_job['spec']['timeZone'], 'Asia/Shanghai')
    for one in manifests:
      self.assertEqual(one['metadata']['namespace'], 'ml')
    values = self.values(manifests)
    self.assertEqual(values['LIMAML_LOGS'], '/x/*.csv')
    self.assertEqual(values['LIMAML_ZONE'], 'Asia/Shanghai')
    self.assertIn('LIMAML_REDIS_PASSWORD', values)

  def test_wants_no_password_of_redis_for_another_store(self):
    store = ('LIMAML_STORE', 'lmdb:/var/lib/limaml/store')
    values = self.values(self.plan(variables=(store,)))
    self.assertNotIn('LIMAML_REDIS_PASSWORD', values)

  @parameterized.parameters(
      (dict(schedule='daily'), '--schedule=daily'),
      (dict(zone='Mars/Base'), '--zone=Mars/Base'),
      (dict(variables=(('LIMAML_STORE', 'redis'),)), '--store=redis'),
      (dict(variables=(('LIMAML_STORE', 'redis://:pass@host/0'),)), 'password'),
  )
  def test_refuses(self, fields, message):
    with self.assertRaisesRegex(job_lib.LaunchError, message) as caught:
      self.plan(**fields)
    self.assertNotIn('pass@', str(caught.exception))


class CommandTest(parameterized.TestCase):

  def test_prints_manifests_to_apply(self):
    result = launch(
        'train', '--image=x', '--accelerator=tpu', '--tpu_topology=4x4',
        '--tpu_slices=3', '--node_selector=a=b', '--', '-m',
        'experiments.train', '--workdir=/var/lib/limaml/run',
    )  # fmt: skip
    self.assertEqual(result.returncode, 0, result.stderr)
    self.assertStartsWith(result.stdout, '# kubectl apply --filename=-\n')
    (manifest,) = yaml.safe_load_all(result.stdout)
    self.assertEmpty(schemas.problems(manifest))
    self.assertEqual(schemas.job_of(manifest)['spec']['completions'], 4)
    self.assertEqual(manifest['spec']['replicatedJobs'][0]['replicas'], 3)
    self.assertEqual(
        pod_of(manifest)['nodeSelector'],
        {
            'a': 'b',
            'cloud.google.com/gke-tpu-accelerator': 'tpu-v5-lite-podslice',
            'cloud.google.com/gke-tpu-topology': '4x4',
        },
    )

  def test_prints_the_refresh(self):
    result = launch('refresh', '--image=x', '--store=lmdb:/s', '--zone=UTC')
    self.assertEqual(result.returncode, 0, result.stderr)
    _, cron_job = yaml.safe_load_all(result.stdout)
    self.assertEqual(cron_job['spec']['timeZone'], 'Etc/UTC')

  @parameterized.parameters(
      (('train', '--', '-m', 'x'), '--image'),
      (('--image=x',), 'no word: give train or refresh'),
      (('trian', '--image=x'), 'trian: give train or refresh'),
      (('refresh', '--image=x', '--', '-m', 'x'), 'takes no program'),
      (('train', '--image=x', '--accelerator=amd', '--', '-m', 'x'), 'amd'),
      (('train', '--image=x', '--accelerator=tpu', '--', '-m', 'x'),
       'give --tpu_topology'),
      (('train', '--image=x', '--node_selector=a', '--', '-m', 'x'),
       '--node_selector=a'),
      (('train', '--image=x', '--name=A', '--', '-m', 'x'), '--name=A'),
      (('train', '--image=x', '--', '-m', 'x', '--workdir=run'),
       '--workdir=run: is not on the volume'),
      (('train', '--image=x', '--', '-m', 'x', '--workdir', '/run'),
       '--workdir=/run: is not on the volume'),
  )  # fmt: skip
  def test_bad_input_is_one_line(self, words, message):
    result = launch(*words)
    self.assertEqual(result.returncode, 1)
    self.assertStartsWith(result.stderr, 'error: ')
    self.assertIn(message, result.stderr)
    self.assertEqual(result.stderr.count('\n'), 1)


if __name__ == '__main__':
  absltest.main()
