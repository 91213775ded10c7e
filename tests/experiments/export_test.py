"""The export of a trained run, by its binary."""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from absl.testing import absltest
import numpy as np

from experiments import pipeline
from limaml_jax import errors
from limaml_jax import types
from limaml_jax.bundle import directory
from limaml_jax.bundle import reading
from limaml_jax.export import program
from tests import synthetic
from tests.experiments import commands

# Exports to a disk that is full, and then read-only.
_SMALL_DISK = """
import subprocess, sys
root, size, *command = sys.argv[1:]
subprocess.run(
    ['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', root], check=True)
def export():
  result = subprocess.run(command, capture_output=True, text=True)
  lines = result.stderr.strip().splitlines()
  print(result.returncode, lines[-1] if lines else 'well')
  print(open(root + '/CURRENT').read().strip())
export()
with open(root + '/ballast', 'wb', buffering=0) as file:
  try:
    while True:
      file.write(bytes(4096))
  except OSError:
    pass
export()
subprocess.run(['mount', '-o', 'remount,ro', root], check=True)
export()
"""


class ExportTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.dir = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.dir)
    commands.write_log(cls.dir / 'raw')
    cls.run_dir = cls.dir / 'limaml'
    cls.flags = (
        f'--data={cls.dir / "tasks"}',
        f'--workdir={cls.run_dir}',
        commands.CACHE,
    )
    for verb, *flags in (
        (
            'prepare',
            f'--data_dir={cls.dir / "raw"}',
            f'--output={cls.dir / "tasks"}',
            *commands.SMALL,
        ),
        ('train', *cls.flags, *commands.SMALL, '--stop_after=2'),
    ):
      result = commands.run(verb, *flags)
      if result.returncode:
        raise AssertionError(result.stderr[-3000:])

  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.create_tempdir().full_path) / 'bundle'

  def export(self, *flags):
    return commands.run(
        'export', *self.flags, f'--bundle={self.root}', *flags
    )

  def export_well(self, *flags):
    result = self.export(*flags)
    self.assertEqual(result.returncode, 0, result.stderr[-3000:])
    return result

  def settings(self, name='model-settings.json'):
    return json.loads((self.root / name).read_text())

  def assert_one_line(self, result, message):
    self.assertEqual(result.returncode, 1)
    lines = result.stderr.strip().splitlines()
    self.assertLen(lines, 1, result.stderr)
    self.assertRegex(lines[0], f'^error: .*{message}')

  def test_writes_a_bundle_and_settings_and_says_what_to_run(self):
    result = self.export_well()
    self.assertIn(f'`mlserver start {self.root}`', result.stdout)
    self.assertIn('version 00000001', result.stdout)
    self.assertEqual(
        self.settings()['parameters']['extra'],
        {'store': f'lmdb:{self.run_dir / "store"}'},
    )
    self.assertEqual(self.settings()['name'], 'limaml')
    server = self.settings('settings.json')
    self.assertEqual(server['host'], '127.0.0.1')
    data = pipeline.load(self.dir / 'tasks')
    served = pipeline.restore(
        data, self.run_dir, store=self.dir / 'elsewhere'
    )
    bundle = reading.open_bundle(self.root)
    self.assertEqual(
        bundle.manifest.fingerprint, served.refresher.fingerprint
    )
    np.testing.assert_array_equal(
        bundle.default, served.refresher.default_embedding()
    )
    for name, array in program.flatten(served.half).items():
      np.testing.assert_array_equal(bundle.weights[name], array)
    self.assertEqual(bundle.manifest.tables['items'], 30)

  def test_a_second_export_keeps_settings_and_renews_the_rest(self):
    self.export_well('--store=redis://h:6379/0', '--name=mine')
    self.assertEqual(self.settings()['name'], 'mine')
    edited = self.settings() | {'name': 'edited'}
    (self.root / 'model-settings.json').write_text(json.dumps(edited))
    # As though it were from last year.
    path = directory.version_path(self.root, '00000001')
    manifest = directory.read_manifest(self.root, '00000001')
    old = dataclasses.replace(
        manifest, jax_version='0.4.30', expires=int(time.time()) - 9
    )
    (path / 'manifest.json').write_text(old.to_json())
    with self.assertRaisesRegex(errors.InputError, 'expired'):
      reading.open_bundle(self.root)
    result = self.export_well('--store=lmdb:/elsewhere', '--keep=1')
    self.assertEqual(self.settings(), edited)
    self.assertIn('version 00000002', result.stdout)
    renewed = reading.open_bundle(self.root)
    self.assertEqual(renewed.manifest.fingerprint, manifest.fingerprint)
    self.assertEqual(renewed.manifest.checksums, manifest.checksums)
    self.assertEqual(directory.versions(self.root), ['00000002'])

  def test_a_password_in_the_address_is_refused(self):
    for store in (
        'redis://:hunter2@h:6379/0',
        'unix:///s?username=me&password=hunter2',
    ):
      with self.subTest(store):
        result = self.export(f'--store={store}')
        self.assert_one_line(result, '--store: holds a password.*LIMAML_REDIS')
        self.assertNotIn('hunter2', result.stderr)
        self.assertFalse(self.root.exists())

  def test_a_wrong_flag_is_one_line(self):
    for flag, message in (
        ('--store=ftp:x', 'expected lmdb:PATH'),
        ('--name=a/b', '--name=a/b: use letters'),
        (f'--bundle={self.dir / "tasks" / "dataset.json"}', 'dataset.json'),
    ):
      with self.subTest(flag):
        self.assert_one_line(self.export(flag), message)
        self.assertFalse(self.root.exists())

  def test_help_explains(self):
    result = commands.run('export', '--help')
    for words in ('Exports a trained model as a bundle', '--bundle',
                  '--keep', 'mlserver start', 'Versions that'):  # fmt: skip
      self.assertIn(words, result.stdout)

  def test_a_full_and_a_read_only_disk_leave_the_version_before(self):
    if not shutil.which('unshare'):
      self.skipTest('unshare is missing: no disk to fill (util-linux)')
    self.root.mkdir()
    result = subprocess.run(
        ['unshare', '-rm', sys.executable, '-c', _SMALL_DISK, str(self.root),
         '400k', sys.executable, '-m', 'experiments.export', *self.flags,
         f'--bundle={self.root}'],
        cwd=commands.ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if 'unshare' in result.stderr or 'mount:' in result.stderr:
      self.skipTest(f'nothing may be mounted here: {result.stderr.strip()}')
    self.assertEqual(result.returncode, 0, result.stderr)
    well, first, full, still, fixed, then = result.stdout.splitlines()
    self.assertStartsWith(well, '0 ')
    self.assertRegex(full, '^1 error: .*(No space|cannot be written).*free')
    self.assertRegex(fixed, '^1 error: .*Read-only file system; make it wri')
    self.assertEqual([first, still, then], ['00000001'] * 3)


class OfEntitiesTest(absltest.TestCase):

  def test_an_attribute_that_changes_is_the_latest_of_the_entity_itself(self):
    table, info = synthetic.make_tasks(num_entities=3)
    plan = types.FeatureSpec(
        'plan', 'categorical', 'entity', 'both', 9, per_event=True
    )
    table = table._replace(
        offsets=np.asarray([0, 2, 2, 3]),  # Of the second, there is no event.
        event_features={'plan': np.asarray([4, 5, 6], np.int32)},
    )
    info = dataclasses.replace(info, features=(*info.features, plan))
    data = pipeline.Dataset(pathlib.Path(), info, table)
    found = pipeline.entity_features(data)
    np.testing.assert_array_equal(found['plan'], [5, 0, 6])
    np.testing.assert_array_equal(found['age'], table.entity_features['age'])


if __name__ == '__main__':
  absltest.main()
