"""What is run to get TPU VMs; gcloud is a stand-in that notes its arguments."""

import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys

from absl.testing import absltest
from absl.testing import parameterized

from launch import job as job_lib
from launch import queued_resources
from launch import topology as topology_lib

ROOT = pathlib.Path(__file__).parents[2]
JOB = job_lib.parse(['-m', 'experiments.train', "--data=a '$b'"])
POD = topology_lib.TpuVm('pod', 'z', 'v5litepod-16', 'v2-alpha-tpuv5-lite')
_GCLOUD = """\
#!{python}
import json, pathlib, sys
folder = pathlib.Path({folder!r})
with (folder / 'calls').open('a') as file:
  file.write(json.dumps(sys.argv[1:]) + '\\n')
if 'describe' in sys.argv:
  states = (folder / 'states').read_text().splitlines()
  (folder / 'states').write_text('\\n'.join(states[1:] or states))
  if states[0] == 'none':
    sys.exit('ERROR: not found')
  print(states[0])
if 'scp' in sys.argv:
  archive = [word for word in sys.argv if word.endswith('.tar.gz')][0]
  (folder / 'size').write_text(str(pathlib.Path(archive).stat().st_size))
"""


class PlanTest(parameterized.TestCase):

  def test_asks_for_machines(self):
    topology = POD._replace(
        project='p', is_spot=True, valid_until_duration='6h'
    )
    command = queued_resources.plan(topology, JOB).create
    self.assertEqual(
        command.argv,
        (
            'gcloud', 'compute', 'tpus', 'queued-resources', 'create', 'pod',
            '--node-id=pod', '--accelerator-type=v5litepod-16',
            '--runtime-version=v2-alpha-tpuv5-lite',
            '--valid-until-duration=6h', '--spot', '--zone=z', '--project=p',
        ),
    )  # fmt: skip

  def remote(self, command):
    """Returns what a command has machines run: words of each, in order."""
    self.assertEqual(command.argv[3:6], ('tpu-vm', 'ssh', 'pod'))
    self.assertIn('--worker=all', command.argv)
    (text,) = [w for w in command.argv if w.startswith('--command=')]
    lines = text.removeprefix('--command=').split(' && ')
    return [shlex.split(line) for line in lines]

  def test_starts_the_program_on_all_of_them(self):
    *_, start = queued_resources.plan(POD, JOB).start
    change, service = self.remote(start)
    self.assertEqual(change, ['cd', 'limaml'])
    position = service.index('/usr/bin/env')
    self.assertEqual(
        service[position + 1 :],
        [
            '.venv/bin/python', '-m', 'launch.local', '--devices_per_process=0',
            '--submit', '--', '-m', 'experiments.train',
            "--data=a '$$b'",  # systemd would replace $b.
            '--multihost',
        ],
    )  # fmt: skip
    self.assertIn('--unit=pod', service)

  @parameterized.parameters(
      ('v5litepod-8', False),
      ('v5litepod-16', True),
      ('v4-8', False),
      ('v4-16', True),
      ('v6e-256', True),
  )
  def test_several_machines_are_a_cluster(self, accelerator_type, expected):
    topology = POD._replace(accelerator_type=accelerator_type)
    *_, start = queued_resources.plan(topology, JOB).start
    self.assertEqual('--multihost' in str(start), expected)

  def test_installs_what_is_locked(self):
    pack, copy, install, _ = queued_resources.plan(POD, JOB, '/x.tar.gz').start
    self.assertEqual(pack.argv[:2], ('git', 'archive'))
    self.assertIn('--output=/x.tar.gz', pack.argv)
    self.assertEqual(copy.argv[5:7], ('/x.tar.gz', 'pod:limaml.tar.gz'))
    *_, last = self.remote(install)
    self.assertIn('--requirement=limaml/requirements.lock', last)
    self.assertIn('jax[tpu]', last)

  def test_mounts_a_share_before_it_starts(self):
    plan = queued_resources.plan(POD._replace(nfs='10.0.0.2:/share'), JOB)
    self.assertLen(plan.start, 5)
    *_, (_, _, text) = self.remote(plan.start[3])
    test, _, mount = text.partition(' || ')
    self.assertEqual(test, 'mountpoint --quiet /mnt/limaml')
    words = ['sudo', 'mount', '-t', 'nfs', '10.0.0.2:/share', '/mnt/limaml']
    self.assertEqual(shlex.split(mount), words)

  @parameterized.parameters(
      (dict(accelerator_type='v5e'), '--accelerator_type=v5e'),
      (dict(accelerator_type='a100-16'), '--accelerator_type=a100-16'),
      (dict(nfs='share'), '--nfs=share'),
      (dict(nfs='h:/x y'), '--nfs=h:/x y'),
  )
  def test_refuses(self, fields, message):
    with self.assertRaisesRegex(job_lib.LaunchError, message):
      queued_resources.plan(POD._replace(**fields), JOB)


class CommandTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    text = _GCLOUD.format(python=sys.executable, folder=str(self.folder))
    path = self.folder / 'gcloud'
    path.write_text(text)
    path.chmod(0o755)

  def launch(self, *words, path=None, start=subprocess.run, **options):
    path = path or f'{self.folder}:{os.environ["PATH"]}'
    return start(
        [
            # Where tests run in the background, interrupts are ignored.
            '/usr/bin/env', '--default-signal=INT',
            sys.executable, '-m', 'launch.tpu_vm', '--zone=z', '--name=pod',
            '--accelerator_type=v5litepod-16', '--runtime_version=r', *words,
            '--', '-m', 'experiments.train',
        ],
        cwd=ROOT, env=os.environ | {'PATH': path}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip

  def submit(self, *states):
    (self.folder / 'states').write_text('\n'.join(states))
    return self.launch('--submit', '--poll_seconds=0.01')

  def verbs(self):
    lines = (self.folder / 'calls').read_text().splitlines()
    return [json.loads(line)[3] for line in lines]

  def test_waits_for_the_machines_and_starts(self):
    states = ('none', 'WAITING_FOR_RESOURCES', 'PROVISIONING', 'ACTIVE')
    result = self.submit(*states)
    self.assertEqual(result.returncode, 0, result.stderr)
    self.assertEqual(
        self.verbs(),
        ['describe', 'create', *['describe'] * 3, 'scp', 'ssh', 'ssh'],
    )
    self.assertIn('waiting for machines: PROVISIONING', result.stderr)
    self.assertIn('give the machines back: gcloud', result.stderr)
    self.assertGreater(int((self.folder / 'size').read_text()), 10_000)

  def test_asks_once_only(self):
    self.assertEqual(self.submit('ACTIVE').returncode, 0)
    self.assertEqual(self.verbs(), ['describe', 'scp', 'ssh', 'ssh'])

  def test_says_that_no_machines_will_come(self):
    result = self.submit('none', 'FAILED')
    self.assertEqual(result.returncode, 1)
    self.assertIn('error: the request for machines is FAILED', result.stderr)
    self.assertIn('delete pod --force', result.stderr)
    self.assertEqual(self.verbs(), ['describe', 'create', 'describe'])

  def test_interrupted_it_says_so_in_a_line(self):
    (self.folder / 'states').write_text('PROVISIONING')
    launcher = self.launch('--submit', start=subprocess.Popen)
    self.addCleanup(launcher.kill)
    self.assertIn('PROVISIONING', launcher.stderr.readline())
    launcher.send_signal(signal.SIGINT)
    _, said = launcher.communicate(timeout=60)
    self.assertEqual(launcher.returncode, 130)
    self.assertStartsWith(said, 'launch: stopped here')
    self.assertEqual(said.count('\n'), 1)

  def test_prints_all_and_does_nothing(self):
    result = self.launch()
    self.assertEqual(result.returncode, 0, result.stderr)
    self.assertFalse((self.folder / 'calls').exists())
    lines = result.stdout.splitlines()
    programs = [shlex.split(line)[0] for line in lines if line[0] != '#']
    self.assertEqual(programs, ['gcloud', 'gcloud', 'git', *['gcloud'] * 3])

  def test_says_that_there_is_no_gcloud(self):
    result = self.launch('--submit', path='/nowhere')
    self.assertEqual(result.returncode, 1)
    self.assertStartsWith(result.stderr, 'error: gcloud: no such program')


if __name__ == '__main__':
  absltest.main()
