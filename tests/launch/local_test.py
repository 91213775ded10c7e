"""Clusters on this machine: real processes, which end, die and are told to."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from absl.testing import absltest
from absl.testing import parameterized

from launch import job as job_lib
from launch import processes
from launch import supervisor
from launch import topology as topology_lib

ROOT = pathlib.Path(__file__).parents[2]
GRACE = ('--grace_seconds=0.5',)
JOB = job_lib.parse(['-m', 'experiments.train', '--data=a b'], python='py')


def is_alive(pid):
  """Whether there is a process that is no zombie."""
  try:
    text = pathlib.Path(f'/proc/{pid}/stat').read_text()
  except FileNotFoundError:
    return False
  return text.rpartition(')')[2].split()[0] != 'Z'


def wait_until(condition, seconds=30):
  deadline = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < deadline, 'it took too long'
    time.sleep(0.02)


def listeners(port):
  """Returns the addresses where a port is listened to, as Linux has them."""
  found = []
  for name in ('tcp', 'tcp6'):
    path = pathlib.Path('/proc/net', name)
    for line in path.read_text().splitlines()[1:] if path.exists() else ():
      address, _, local_port = line.split()[1].partition(':')
      if int(local_port, 16) == port and line.split()[3] == '0A':
        found.append(address)
  return found


class PlanTest(absltest.TestCase):

  def test_each_process_is_told_its_place(self):
    commands = processes.plan(topology_lib.Local(2, 4, port=1234), JOB)
    argv = ('py', '-m', 'experiments.train', '--data=a b', '--multihost')
    self.assertEqual([command.argv for command in commands], [argv, argv])
    shared = {
        'PYTHONUNBUFFERED': '1',
        'JAX_PLATFORMS': 'cpu',
        'JAX_NUM_CPU_DEVICES': '4',
        'JAX_COORDINATOR_ADDRESS': '127.0.0.1:1234',
        'JAX_COORDINATOR_BIND_ADDRESS': '127.0.0.1:1234',
        'JAX_NUM_PROCESSES': '2',
    }
    self.assertEqual(
        [dict(command.environment) for command in commands],
        [shared | {'JAX_PROCESS_ID': one} for one in '01'],
    )

  def test_one_process_is_no_cluster(self):
    (command,) = processes.plan(topology_lib.Local(1, 0), JOB)
    self.assertEqual(
        command.argv, ('py', '-m', 'experiments.train', '--data=a b')
    )
    self.assertEqual(command.environment, (('PYTHONUNBUFFERED', '1'),))

  def test_only_this_machine_reaches_the_first_process(self):
    port = processes.free_port()
    job = job_lib.parse(['-m', 'tests.launch.joiner'], python=sys.executable)
    first, _ = processes.plan(topology_lib.Local(2, 1, port=port), job)
    environment = os.environ | dict(first.environment)
    joining = subprocess.Popen(first.argv, cwd=ROOT, env=environment)
    try:
      wait_until(lambda: listeners(port), seconds=60)
      (address,) = listeners(port)
      self.assertEndsWith(address, '0100007F')  # 127.0.0.1, or it in IPv6.
    finally:
      joining.kill()
      joining.wait()


class VerdictTest(parameterized.TestCase):

  @parameterized.parameters(
      ([0, 0], 0),
      ([-9, 1, 75], -9),  # The first death is the cause.
      ([1, -6], 1),
      ([75, 1], 1),  # 75 says that the cause is another.
      ([75, -6], -6),
      ([-6, 1], 1),  # Nor is the abort of one that lost the other.
      ([134, 3, 75], 3),
      ([-6, -9], -9),
      ([-6, 75], -6),
      ([0, 75], 75),
      ([], 0),
  )
  def test_is_the_status_of_the_cause(self, statuses, expected):
    self.assertEqual(job_lib.verdict(statuses), expected)

  @parameterized.parameters(
      (0, False), (1, False), (2, False), (3, False), (128, False),
      (75, True), (-9, True), (137, True),
  )  # fmt: skip
  def test_again_after_signals_and_lost_peers_only(self, status, expected):
    self.assertEqual(job_lib.is_again(status), expected)


class LocalTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    self.launchers = []

  def tearDown(self):
    for launcher in self.launchers:
      launcher.kill()
      launcher.communicate()
    super().tearDown()

  def start(self, *actions, num=2, flags=(), **environment):
    launcher = subprocess.Popen(
        [
            # Whoever runs the tests under nohup has it ignored.
            'env', '--default-signal=HUP',
            sys.executable, '-m', 'launch.local', f'--num_processes={num}',
            '--submit', *flags, '--', '-m', 'tests.launch.member',
            str(self.folder), *actions,
        ],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    self.launchers.append(launcher)
    return launcher

  def finish(self, launcher):
    self.output, self.told = launcher.communicate(timeout=60)
    return launcher.returncode

  def records(self, name):
    path = self.folder / str(name)
    return [json.loads(line) for line in path.read_text().splitlines()]

  def wait_for(self, *names):
    wait_until(lambda: all((self.folder / name).exists() for name in names))

  def test_a_cluster_that_is_done(self):
    self.assertEqual(self.finish(self.start('0.1=partial')), 0)
    lines = ['[0] attempt 0', '[1] attempt 0', '[1] no end of line']
    self.assertCountEqual(self.output.splitlines(), lines)
    self.assertEqual(self.told, '')
    for name in '01':
      (record,) = self.records(name)
      self.assertIn('--multihost', record['argv'])
      self.assertEqual(record['environment']['JAX_PROCESS_ID'], name)

  @parameterized.parameters('die:9', 'die:6', 'end:75')
  def test_one_death_starts_all_again(self, action):
    launcher = self.start('0.0=wait', f'0.1={action}', flags=GRACE)
    self.assertEqual(self.finish(launcher), 0)
    first, second = self.records(0)
    self.assertLen(self.records(1), 2)
    self.assertFalse(is_alive(first['pid']))
    name = 'JAX_COORDINATOR_ADDRESS'
    self.assertNotEqual(first['environment'][name], second['environment'][name])
    self.assertIn('19 restarts left', self.told)

  def test_bad_input_stops_all_for_good(self):
    launcher = self.start('0.0=end:1', '0.1=wait', flags=GRACE)
    self.assertEqual(self.finish(launcher), 1)
    (record,) = self.records(1)
    self.assertFalse(is_alive(record['pid']))
    self.assertIn('process 0 ended with status 1', self.told)

  def test_gives_up(self):
    actions = [f'{attempt}.0=end:75' for attempt in range(9)]
    launcher = self.start(*actions, num=1, flags=('--max_restarts=1',))
    self.assertEqual(self.finish(launcher), 75)
    self.assertLen(self.records(0), 2)
    self.assertIn('gave up after 1 restarts', self.told)
    self.assertEqual(self.told.count('starting all again'), 1)

  @parameterized.parameters(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
  def test_asked_to_stop_it_has_all_save(self, number):
    launcher = self.start('0.0=wait', '0.1=wait')
    self.wait_for('0.0.waits', '1.0.waits')
    launcher.send_signal(number)
    self.assertEqual(self.finish(launcher), 0)
    self.wait_for('0.0.saved', '1.0.saved')
    self.assertLen(self.records(0), 1)

  def test_stopped_is_not_started_again(self):
    launcher = self.start('0.0=wait', '0.1=wait', PREEMPTED_STATUS='75')
    self.wait_for('0.0.waits', '1.0.waits')
    launcher.terminate()
    self.assertEqual(self.finish(launcher), 75)
    self.assertLen(self.records(0), 1)

  def test_asked_twice_it_kills(self):
    launcher = self.start('0.0=deaf', '0.1=deaf')
    self.wait_for('0.waits', '1.waits')
    launcher.terminate()
    time.sleep(0.5)  # Nothing shows that the deaf have been told.
    self.assertIsNone(launcher.poll())
    launcher.terminate()
    self.assertEqual(self.finish(launcher), 128 + signal.SIGKILL)
    self.assertFalse(is_alive(self.records(0)[0]['pid']))

  def test_stops_while_it_waits_to_start_again(self):
    actions = [f'{attempt}.0=end:75' for attempt in range(9)]
    launcher = self.start(*actions, num=1)
    for line in launcher.stderr:
      if 'in 2 s' in line:
        break
    launcher.terminate()
    self.assertEqual(self.finish(launcher), 128 + signal.SIGTERM)
    self.assertLen(self.records(0), 2)

  def test_a_killed_launcher_leaves_nobody(self):
    launcher = self.start('0.0=deaf', '0.1=deaf')
    self.wait_for('0.waits', '1.waits')
    launcher.kill()
    pids = [self.records(name)[0]['pid'] for name in '01']
    wait_until(lambda: not any(is_alive(pid) for pid in pids), seconds=5)

  def test_children_of_the_dead_are_killed(self):
    self.assertEqual(self.finish(self.start('0.0=parent', flags=GRACE)), 0)
    pid = int((self.folder / '0.child').read_text())
    wait_until(lambda: not is_alive(pid), seconds=5)

  def test_nothing_runs_without_submit(self):
    folder = self.folder / 'a b'
    folder.mkdir()
    result = subprocess.run(
        [
            sys.executable, '-m', 'launch.local', '--num_processes=2', '--',
            '-m', 'tests.launch.member', str(folder), '0.0=leave:3', '0.1=mark',
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    self.assertEmpty(list(folder.iterdir()))
    # What is printed can be pasted, and runs both at once.
    shell = ['sh', '-c', result.stdout]
    subprocess.run(shell, cwd=ROOT, timeout=20, check=True)
    for name in '01':
      self.assertLen((folder / name).read_text().splitlines(), 1)


class DelayTest(absltest.TestCase):

  def test_grows_by_quick_deaths_up_to_a_limit(self):
    policy = supervisor.Policy(delay_seconds=1, max_delay_seconds=5)
    delays = [supervisor.delay(policy, quick) for quick in range(5)]
    self.assertEqual(delays, [1, 1, 2, 4, 5])


class BadInputTest(parameterized.TestCase):

  @parameterized.parameters(
      ((), 'after --: nothing'),
      (('--', 'experiments.train'), 'after --: experiments.train'),
      (('--', '-m', 'a/b.py'), "-m 'a/b.py': no name of a module"),
      (('train', '--', '-m', 'a'), 'train: the program and its flags stand'),
      (('--data=x', '--', '-m', 'a'), "Unknown command line flag 'data'"),
      (('--num_processes=0', '--', '-m', 'a'), '--num_processes=0'),
      (
          ('--num_processes=2', '--devices_per_process=0', '--', '-m', 'a'),
          '--devices_per_process=0: each of --num_processes=2 would take all',
      ),
      (('--submit', '--dry_run', '--', '-m', 'a'), '--dry_run and --submit'),
      (('--nodry_run', '--', '-m', 'a'), '--dry_run and --submit'),
  )
  def test_is_one_line(self, words, message):
    result = subprocess.run(
        [sys.executable, '-m', 'launch.local', *words],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    self.assertEqual(result.returncode, 1)
    self.assertStartsWith(result.stderr, 'error: ')
    self.assertIn(message, result.stderr)
    self.assertEqual(result.stderr.count('\n'), 1)


if __name__ == '__main__':
  absltest.main()
