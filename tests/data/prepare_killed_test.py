"""`prepare`, killed at any write, loses nothing and completes when run again.

    python -m pytest tests/data/prepare_killed_test.py

kills it at six of its writes; LIMAML_EXAMPLES=100 at so many.
"""

import os
import pathlib
import signal
import subprocess
import sys

from absl.testing import absltest
import small_log

from limaml_jax.data import dataset
from limaml_jax.data.tasks import task_table

_EXAMPLES = int(os.environ.get('LIMAML_EXAMPLES', '3'))
# Prepares in argv[1]; at write argv[2] of it the process kills itself.
_PROGRAM = """
import os, pathlib, signal, sys
import small_log

root, last = sys.argv[1], int(sys.argv[2])
log = small_log.SmallLog.at(root)
writes = 0

def count(event, arguments):
  global writes
  if event == 'open':
    path, mode, flags = arguments
    is_write = flags & (os.O_WRONLY | os.O_RDWR)
  else:
    path, is_write = arguments[0] if arguments else '', event in (
        'os.rename', 'os.mkdir', 'os.link', 'os.remove', 'os.rmdir')
  inside = isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(
      root)
  if is_write and inside:
    writes += 1
    if writes == last:
      os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
log.prepare(min_count=1)
print(writes)
"""


class KilledTest(absltest.TestCase):

  def run_until(self, last):
    environment = os.environ | {
        'PYTHONPATH': os.pathsep.join(
            [str(pathlib.Path(__file__).parent), *sys.path]
        )
    }
    return subprocess.run(
        [sys.executable, '-c', _PROGRAM, str(self.root), str(last)],
        capture_output=True,
        check=False,
        env=environment,
        text=True,
    )

  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.create_tempdir().full_path)
    self.log = small_log.SmallLog(str(self.root))
    self.earlier = self.log.prepare()
    (self.root / 'output').rename(self.root / 'kept')
    self.grow()
    done = self.run_until(last=0)
    self.assertEqual(done.returncode, 0, done.stderr[-2000:])
    self.num_writes = int(done.stdout)
    self.grown = dataset.load_info(self.log.output)

  def grow(self):
    line = f'zoe,m1,5,0,{small_log.START + 5},tv'
    self.log.write_events([*small_log.EVENTS, line])

  def reset(self):
    """Puts the earlier dataset back, the log having grown since."""
    subprocess.run(['rm', '-rf', str(self.log.output)], check=True)
    subprocess.run(
        ['cp', '-r', str(self.root / 'kept'), str(self.log.output)], check=True
    )

  def test_loses_nothing_and_completes_when_run_again(self):
    self.assertGreater(self.num_writes, 10)
    step = max((self.num_writes - 1) // max(_EXAMPLES - 1, 1), 1)
    for last in range(1, self.num_writes + 1, step):
      with self.subTest(last):
        self.reset()
        killed = self.run_until(last)
        self.assertEqual(killed.returncode, -signal.SIGKILL)
        # Whole, whichever of the two it is, where any is there.
        found = self.log.output
        if not found.exists():  # Killed between the two renames.
          found = self.root / '.output.previous'
        info = dataset.load_info(found)
        self.assertIn(
            info.fingerprint, (self.earlier.fingerprint, self.grown.fingerprint)
        )
        self.assertLen(
            task_table.load(found).labels, info.num_interactions
        )
        again = self.log.prepare()
        self.assertEqual(again.fingerprint, self.grown.fingerprint)
        self.assertLen(task_table.load(self.log.output).labels, 17)
        # What the killed one left is gone, too.
        self.assertEqual(
            sorted(path.name for path in self.root.iterdir()),
            ['kept', 'output', 'raw', 'schema.toml'],
        )


if __name__ == '__main__':
  absltest.main()
