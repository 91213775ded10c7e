"""All recipes under launch/schedules, and those of systemd and cron.

systemd-analyze checks the units where it is on PATH.
"""

import fcntl
import os
import pathlib
import re
import shutil

from absl.testing import absltest
from absl.testing import parameterized

from tests.launch import recipes

UNITS = (
    'limaml-refresh.service',
    'limaml-refresh.timer',
    'limaml-refresh-failed.service',
)


class AllRecipesTest(absltest.TestCase):

  def test_mention_only_variables_that_the_script_reads(self):
    known = recipes.documented_variables()
    files = [path for path in recipes.SCHEDULES.iterdir() if path.is_file()]
    self.assertGreaterEqual(len(files), 8)
    for path in files:
      mentioned = set(re.findall(r'LIMAML_\w+', path.read_text()))
      self.assertEmpty(mentioned - known, msg=path.name)

  def test_environment_file_sets_all_that_is_needed(self):
    self.assertContainsSubset(recipes.NEEDED, recipes.environment_file())

  def test_hold_no_password(self):
    for path in recipes.SCHEDULES.iterdir():
      if path.is_file():
        self.assertNotRegex(path.read_text(), r'://[^/\s]*:[^/\s]*@')

  def test_start_the_script_that_is_there(self):
    self.assertTrue(os.access(recipes.REFRESH_SCRIPT, os.X_OK))
    for name in ('limaml-refresh.service', 'refresh.crontab', 'cronjob.yaml'):
      text = (recipes.SCHEDULES / name).read_text()
      self.assertIn(recipes.SCRIPT, text, msg=name)


class SystemdTest(parameterized.TestCase):

  def read(self, name):
    return recipes.read_unit(recipes.SCHEDULES / name)

  def test_systemd_accepts_the_units(self):
    if shutil.which('systemd-analyze') is None:
      self.skipTest('UNITS NOT VERIFIED: no systemd-analyze on PATH')
    paths = [str(recipes.SCHEDULES / name) for name in UNITS]
    result = recipes.run('systemd-analyze', 'verify', '--man=no', *paths)
    # Unknown directives are warnings; other units of the machine may have some.
    about = [line for line in result.stderr.splitlines() if 'limaml' in line]
    self.assertEmpty(about)
    self.assertEqual(result.returncode, 0, result.stderr)

  @parameterized.parameters(*UNITS)
  def test_units_use_known_directives(self, name):
    unit = self.read(name)
    self.assertNotEmpty(unit.sections())
    for section in unit.sections():
      self.assertIn(section, recipes.DIRECTIVES)
      known = recipes.DIRECTIVES[section].split()
      self.assertContainsSubset(unit[section].keys(), known)

  def test_a_refused_snapshot_fails_at_once_and_tells(self):
    unit = self.read('limaml-refresh.service')
    service = unit['Service']
    self.assertEqual(service['Type'], 'oneshot')
    self.assertEqual(service['Restart'], 'on-failure')
    never = service['RestartPreventExitStatus'].split()
    self.assertIn(str(recipes.REFUSED), never)
    self.assertNotIn('1', never)
    self.assertNotIn('SuccessExitStatus', service)
    self.assertIn(unit['Unit']['OnFailure'], UNITS)

  def test_attempts_of_a_night_are_over_before_the_next(self):
    unit = self.read('limaml-refresh.service')
    hours = {'h': 1.0, 'min': 1 / 60}

    def parse(section, name):
      number, suffix = re.fullmatch(r'(\d+)(\D+)', unit[section][name]).groups()
      return int(number) * hours[suffix]

    attempts = int(unit['Unit']['StartLimitBurst'])
    longest = attempts * parse('Service', 'TimeoutStartSec')
    longest += (attempts - 1) * parse('Service', 'RestartSec')
    # Else a start would leave the window, and there would be no last attempt.
    self.assertLess(longest, parse('Unit', 'StartLimitIntervalSec'))
    self.assertLess(parse('Unit', 'StartLimitIntervalSec'), 23)

  def test_may_write_where_it_must_and_nowhere_else(self):
    service = self.read('limaml-refresh.service')['Service']
    self.assertEqual(service['ProtectSystem'], 'strict')
    writable = service['ReadWritePaths'].split()
    settings = recipes.environment_file()
    for path in (
        str(pathlib.PurePath(settings['LIMAML_DATA']).parent),  # Replaces it.
        settings['LIMAML_WORKDIR'],
        settings['LIMAML_STORE'].removeprefix('lmdb:'),
    ):
      inside = [pathlib.PurePath(path).is_relative_to(one) for one in writable]
      self.assertTrue(any(inside), msg=path)
    self.assertNotIn('/', writable)

  def test_timer_starts_the_service_daily_and_makes_up_for_nights(self):
    timer = self.read('limaml-refresh.timer')['Timer']
    self.assertIn(timer['Unit'], UNITS)
    self.assertEqual(timer['Persistent'], 'true')
    self.assertIn('RandomizedDelaySec', timer)
    zone = timer['OnCalendar'].split()[-1]
    self.assertEqual(zone, recipes.environment_file()['LIMAML_ZONE'])


class CrontabTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    if shutil.which('flock') is None:
      self.skipTest('CRONTAB NOT RUN: no flock on PATH')
    self.dir = pathlib.Path(self.create_tempdir().full_path)
    lines = (recipes.SCHEDULES / 'refresh.crontab').read_text().splitlines()
    lines = [line for line in lines if line and not line.startswith('#')]
    self.variables = dict(line.split('=', 1) for line in lines[:-1])
    *times, self.command = lines[-1].split(maxsplit=5)
    self.times = ' '.join(times)

  def run_line(self, status):
    script = self.dir / 'refresh.sh'
    script.write_text(f'echo "store: $LIMAML_STORE"; exit {status}\n')
    replaced = {
        'ENVIRONMENT': str(recipes.SCHEDULES / 'refresh.env'),
        'LOCK': str(self.dir / 'lock'),
        'LOG': str(self.dir / 'log'),
        'SCRIPT': str(script),
    }
    self.assertContainsSubset(replaced, self.variables)
    # As cron does: its own few variables, and those of the crontab.
    clean = {'PATH': os.environ['PATH'], 'HOME': str(self.dir)}
    return recipes.run('bash', '-c', self.command, env=clean | replaced)

  def log(self):
    return (self.dir / 'log').read_text()

  def test_starts_daily(self):
    self.assertEqual(recipes.hours_of_starts(self.times), [1, 25, 49])

  def test_is_one_line_that_cron_takes_whole(self):
    self.assertNotIn('%', self.command)  # To cron, the end of the line.
    self.assertEqual(self.variables['SCRIPT'], recipes.SCRIPT)
    self.assertIn('@', self.variables['MAILTO'])

  def test_success_is_logged_and_mails_nothing(self):
    result = self.run_line(status=0)
    self.assertEqual((result.stdout, result.stderr), ('', ''))
    self.assertEqual(self.log(), 'store: lmdb:/var/lib/limaml/store\n')

  def test_a_refused_snapshot_is_mailed(self):
    result = self.run_line(status=recipes.REFUSED)
    self.assertStartsWith(result.stdout, 'limaml refresh: exit status 3; see /')
    self.assertLen(result.stdout.splitlines(), 1)

  def test_two_runs_never_overlap(self):
    with (self.dir / 'lock').open('w') as lock:
      fcntl.flock(lock, fcntl.LOCK_EX)
      result = self.run_line(status=0)
    self.assertStartsWith(result.stdout, 'limaml refresh: exit status 75; ')
    self.assertEqual(self.log(), '')


if __name__ == '__main__':
  absltest.main()
