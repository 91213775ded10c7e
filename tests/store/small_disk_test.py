import pathlib
import shutil
import subprocess
import sys

from absl.testing import absltest


class SmallDiskTest(absltest.TestCase):

  def run_on_small_disk(self):
    """Returns what a process says that mounts its own disk."""
    if not shutil.which('unshare'):
      self.skipTest('unshare is missing: no disk to fill (util-linux)')
    directory = self.create_tempdir().full_path
    command = ['unshare', '-rm', sys.executable, '-m', 'tests.store.small_disk']
    result = subprocess.run(
        [*command, directory],
        cwd=pathlib.Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    if 'unshare' in result.stderr or 'mount:' in result.stderr:
      self.skipTest(f'nothing may be mounted here: {result.stderr.strip()}')
    self.assertEqual(result.returncode, 0, result.stderr)
    return result.stdout.splitlines()

  def test_full_and_read_only(self):
    first, served, full, still, second, then, fixed, at_last = (
        self.run_on_small_disk()
    )
    self.assertEqual((first, served), ('00000001', '00000001 1000'))
    self.assertRegex(
        full, r'cannot be written .* [\d,]{1,9} bytes are left\); free'
    )
    self.assertEqual(still, '00000001 1000')
    # What was half-written takes no space.
    self.assertEqual((second, then), ('00000002', '00000002 2000'))
    self.assertRegex(fixed, 'Read-only file system; make it writable')
    self.assertEqual(at_last, '00000002 2000')


if __name__ == '__main__':
  absltest.main()
