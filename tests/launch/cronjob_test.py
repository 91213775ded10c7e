"""The CronJob; kubernetes-validate checks it where it is on PATH."""

import pathlib
import shutil
import zoneinfo

from absl.testing import absltest
from absl.testing import parameterized
import yaml

from tests.launch import recipes


class KubernetesTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    text = (recipes.SCHEDULES / 'cronjob.yaml').read_text()
    self.claim, self.cron_job = yaml.safe_load_all(text)
    self.schedule = self.cron_job['spec']
    self.job = self.schedule['jobTemplate']['spec']
    self.pod = self.job['template']['spec']
    (self.container,) = self.pod['containers']

  @parameterized.parameters('1.31', '1.37')
  def test_kubernetes_accepts_the_manifest(self, version):
    if shutil.which('kubernetes-validate') is None:
      self.skipTest(
          'MANIFEST NOT VALIDATED: no kubernetes-validate on PATH; pip install'
          ' it, 108 MB with the schemas'
      )
    path = str(recipes.SCHEDULES / 'cronjob.yaml')
    result = recipes.run('kubernetes-validate', '--strict', '-k', version, path)
    self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
    self.assertEqual((result.stdout + result.stderr).count(' passed for '), 2)

  def test_starts_daily_one_run_at_a_time(self):
    self.assertEqual(self.cron_job['kind'], 'CronJob')
    starts = recipes.hours_of_starts(self.schedule['schedule'])
    self.assertEqual(starts, [1, 25, 49])
    zoneinfo.ZoneInfo(self.schedule['timeZone'])
    self.assertEqual(self.schedule['concurrencyPolicy'], 'Forbid')
    deadlines = (
        self.schedule['startingDeadlineSeconds'],
        self.job['activeDeadlineSeconds'],
    )
    self.assertBetween(sum(deadlines), 3600, 24 * 3600)

  def test_a_refused_snapshot_fails_at_once(self):
    self.assertGreater(self.job['backoffLimit'], 0)
    self.assertEqual(self.pod['restartPolicy'], 'Never')
    rule = self.job['podFailurePolicy']['rules'][0]
    self.assertEqual(rule['action'], 'FailJob')
    codes = rule['onExitCodes']
    self.assertEqual(codes['containerName'], self.container['name'])
    self.assertEqual(codes['operator'], 'In')
    self.assertEqual(codes['values'], [2, recipes.REFUSED])

  def test_settings_are_complete_and_the_password_a_secret(self):
    variables = {one['name']: one for one in self.container['env']}
    self.assertContainsSubset(recipes.NEEDED, variables)
    password = variables['LIMAML_REDIS_PASSWORD']
    self.assertIn('secretKeyRef', password['valueFrom'])
    self.assertNotIn('value', password)
    self.assertEqual(self.container['command'], ['bash', recipes.SCRIPT])

  def test_what_it_writes_is_on_the_claim(self):
    mounts = {one['mountPath']: one for one in self.container['volumeMounts']}
    volumes = {one['name']: one for one in self.pod['volumes']}
    used = {one['name'] for one in mounts.values()}
    self.assertEqual(used, volumes.keys())
    mount = '/var/lib/limaml'
    volume = volumes[mounts[mount]['name']]
    self.assertEqual(
        volume['persistentVolumeClaim']['claimName'],
        self.claim['metadata']['name'],
    )
    values = {one['name']: one.get('value') for one in self.container['env']}
    for name in ('LIMAML_DATA', 'LIMAML_WORKDIR'):
      # Inside, not at it: a mount cannot be renamed.
      parents = pathlib.PurePath(values[name]).parents
      self.assertIn(pathlib.PurePath(mount), parents)
    self.assertIn('memory', self.container['resources']['limits'])


if __name__ == '__main__':
  absltest.main()
