import pathlib
import shutil
import subprocess
import sys
import threading

from absl.testing import absltest
from absl.testing import parameterized

from limaml_jax import errors
from limaml_jax.bundle import directory
from limaml_jax.bundle import manifest as manifest_lib

_ROOT = pathlib.Path(__file__).parents[2]
# Says what it is about to do, and waits to be killed.
_EXPORTER = """
import pathlib, sys
from limaml_jax.bundle import directory
with directory.new_version(pathlib.Path(sys.argv[1])) as (path, version):
  (path / 'half').write_text(version)
  print(version, flush=True)
  sys.stdin.read()
"""
# Fills a disk of 1 MB, and then finds it read-only.
_SMALL_DISK = """
import pathlib, subprocess, sys
from limaml_jax import errors
from limaml_jax.bundle import directory
root = pathlib.Path(sys.argv[1])
subprocess.run(
    ['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', root], check=True)
def write(num_bytes):
  try:
    with directory.new_version(root) as (path, version):
      (path / 'data').write_bytes(bytes(num_bytes))
  except errors.InputError as error:
    print(error)
  print(directory.current(root), *directory.versions(root),
        *sorted(p.name for p in (root / 'versions').iterdir()))
write(1000)
write(2 << 20)
write(600_000)
subprocess.run(['mount', '-o', 'remount,ro', root], check=True)
write(1000)
"""


class DirectoryTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.create_tempdir().full_path) / 'bundle'

  def write(self, text='x'):
    with directory.new_version(self.root) as (path, version):
      (path / 'deep').mkdir()
      (path / 'deep' / 'data').write_text(text)
    return version

  def left(self):
    return sorted(path.name for path in (self.root / 'versions').iterdir())

  def test_versions_ascend_and_the_last_is_current(self):
    self.assertEqual([self.write(), self.write()], ['00000001', '00000002'])
    self.assertEqual(directory.current(self.root), '00000002')
    self.assertEqual(self.left(), ['00000001', '00000002'])

  def test_versions_are_ordered_as_numbers(self):
    for name in ('100000000', '99999999', '12', '0000000a', '.deleted.1'):
      (self.root / 'versions' / name).mkdir(parents=True)
    self.assertEqual(directory.versions(self.root), ['99999999', '100000000'])
    self.assertEqual(self.write(), '100000001')

  def test_unfinished_is_not_seen(self):
    self.write()
    with directory.new_version(self.root):
      self.assertEqual(directory.current(self.root), '00000001')
      self.assertEqual(directory.versions(self.root), ['00000001'])

  def test_a_failed_export_leaves_nothing(self):
    self.write()
    with self.assertRaises(ZeroDivisionError):
      with directory.new_version(self.root) as (path, _):
        (path / 'half').write_text('x')
        raise ZeroDivisionError
    self.assertEqual(directory.current(self.root), '00000001')
    self.assertEqual(self.left(), ['00000001'])

  def test_a_failed_swap_leaves_nothing(self):
    self.write()
    # A folder in the way of CURRENT, which no file can replace.
    directory.pointer_path(self.root).unlink()
    directory.pointer_path(self.root).mkdir()
    with self.assertRaisesRegex(errors.InputError, 'bundle: .*; make it'):
      self.write()
    self.assertEqual(self.left(), ['00000001'])

  def start_exporter(self):
    process = subprocess.Popen(
        [sys.executable, '-c', _EXPORTER, str(self.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
    )
    self.addCleanup(process.__exit__, None, None, None)
    self.addCleanup(process.kill)
    self.assertEqual(process.stdout.readline(), '00000002\n')
    return process

  def test_a_killed_export_leaves_the_previous_one_current(self):
    self.write()
    process = self.start_exporter()
    process.kill()
    process.wait()
    self.assertEqual(directory.current(self.root), '00000001')
    self.assertEqual(directory.versions(self.root), ['00000001'])
    self.assertTrue((self.root / 'versions' / '.unfinished').exists())
    self.assertEqual(self.write(), '00000002')
    self.assertEqual(self.left(), ['00000001', '00000002'])
    path = directory.version_path(self.root, '00000002')
    self.assertFalse((path / 'half').exists())

  def test_of_two_exporters_the_second_is_refused(self):
    self.write()
    process = self.start_exporter()
    with self.assertRaisesRegex(errors.InputError, 'another process exports'):
      self.write()
    process.stdin.close()
    self.assertEqual(process.wait(), 0)
    self.assertEqual(directory.current(self.root), '00000002')
    self.assertEqual(self.write(), '00000003')

  def test_current_is_never_torn(self):
    self.write()
    stop, seen = threading.Event(), []

    def read():
      while not stop.is_set():
        seen.append(int(directory.current(self.root)))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(30):
      self.write()
    stop.set()
    reader.join()
    self.assertEqual(seen, sorted(seen))
    self.assertContainsSubset(seen, range(1, 32))
    self.assertGreater(len(set(seen)), 3)

  def test_prune_keeps_the_newest(self):
    for _ in range(5):
      self.write()
    self.assertEqual(directory.prune(self.root, 2), ['00000001', '00000002',
                                                     '00000003'])
    self.assertEqual(self.left(), ['00000004', '00000005'])
    self.assertEqual(directory.prune(self.root, 2), [])

  def test_prune_never_deletes_what_is_current(self):
    for _ in range(4):
      self.write()
    directory.pointer_path(self.root).write_text('00000001\n')  # Rolled back.
    self.assertEqual(directory.prune(self.root, 2), ['00000002'])
    self.assertEqual(self.left(), ['00000001', '00000003', '00000004'])

  def write_model(self, fingerprint):
    with directory.new_version(self.root) as (path, version):
      manifest = manifest_lib.Manifest(
          format=manifest_lib.FORMAT, version=version, entity_type='user',
          item_feature='item_id', entity_feature='user_id', features=(),
          fingerprint=fingerprint, dimension=0, default_embedding=(),
          max_age_seconds=0, tables={}, jax_version='0.10.2',
          platforms=('cpu',), created=10, expires=20, checksums={},
      )  # fmt: skip
      (path / 'manifest.json').write_text(manifest.to_json())

  def test_prune_keeps_the_newest_version_of_a_model_exported_before(self):
    for fingerprint in 'AABBB':
      self.write_model(fingerprint)
    self.assertEqual(directory.prune(self.root, 3), ['00000001'])
    self.assertEqual(self.left(), ['00000002', '00000003', '00000004',
                                   '00000005'])

  def test_prune_keeps_as_many_models_and_no_more(self):
    for fingerprint in 'ABCC':
      self.write_model(fingerprint)
    self.assertEqual(directory.prune(self.root, 2), ['00000001'])

  def test_prune_takes_an_unreadable_version_for_no_model(self):
    self.write_model('A')
    self.write()
    for _ in range(2):
      self.write_model('B')
    self.assertEqual(directory.prune(self.root, 2), ['00000002'])

  @parameterized.parameters(
      (None, 'no bundle is here'),
      ('../../etc\n', "holds '../../etc', not a version"),
      ('', "holds '', not a version"),
      (b'\xff\xff', 'no bundle is here'),
  )
  def test_a_torn_pointer_is_one_line(self, text, message):
    self.root.mkdir()
    if text is not None:
      raw = text if isinstance(text, bytes) else text.encode()
      directory.pointer_path(self.root).write_bytes(raw)
    with self.assertRaisesRegex(errors.InputError, message) as caught:
      directory.current(self.root)
    self.assertIn('export', str(caught.exception))

  def test_manifest_of_another_version_is_refused(self):
    self.write()
    with self.assertRaisesRegex(errors.InputError, 'manifest.json: unreadable'):
      directory.read_manifest(self.root, '00000001')

  def test_checksums_are_of_all_files_but_the_manifest(self):
    self.write('abc')
    path = directory.version_path(self.root, '00000001')
    (path / 'manifest.json').write_text('{}')
    self.assertEqual(
        directory.checksums(path),
        # sha256sum of `abc`, the example of FIPS 180-2.
        {'deep/data': 'ba7816bf8f01cfea414140de5dae2223'
                      'b00361a396177a9cb410ff61f20015ad'},
    )

  def test_a_full_and_a_read_only_disk_leave_the_previous_version(self):
    if not shutil.which('unshare'):
      self.skipTest('unshare is missing: no disk to fill (util-linux)')
    self.root.mkdir()
    result = subprocess.run(
        ['unshare', '-rm', sys.executable, '-c', _SMALL_DISK, str(self.root)],
        cwd=_ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if 'unshare' in result.stderr or 'mount:' in result.stderr:
      self.skipTest(f'nothing may be mounted here: {result.stderr.strip()}')
    self.assertEqual(result.returncode, 0, result.stderr)
    first, full, still, second, fixed, then = result.stdout.splitlines()
    self.assertEqual(first, '00000001 00000001 00000001')
    self.assertRegex(full, 'bundle: No space left on device; free some space')
    self.assertEqual(still, first)
    both = '00000001 00000002'
    self.assertEqual(second, f'00000002 {both} {both}')
    self.assertRegex(fixed, 'Read-only file system; make it writable')
    self.assertEqual(then, second)


if __name__ == '__main__':
  absltest.main()
