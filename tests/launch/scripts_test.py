"""The scripts under launch/: syntax, help, and refused arguments."""

import pathlib
import subprocess

from absl.testing import absltest

ROOT = pathlib.Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
  return subprocess.run(
      ['bash', *arguments],
      cwd=ROOT,
      capture_output=True,
      text=True,
      timeout=60,
      check=False,
  )


class ScriptsTest(absltest.TestCase):

  def test_are_valid_bash(self):
    scripts = [*sorted((ROOT / 'launch').glob('*.sh')), ROOT / '.ci' / 'run']
    self.assertGreaterEqual(len(scripts), 4)
    for script in scripts:
      with self.subTest(script.name):
        self.assertEqual(run('-n', str(script)).stderr, '')
        self.assertStartsWith(script.read_text(), '#!/usr/bin/env bash\n')
        self.assertIn('set -euo pipefail', script.read_text())

  def test_demo_explains_itself(self):
    result = run('launch/demo.sh', '--help')
    self.assertEqual(result.returncode, 0)
    self.assertIn('--workdir=DIR', result.stdout)
    self.assertIn('--data_dir=DIR', result.stdout)

  def test_demo_refuses_an_unknown_argument_before_it_installs(self):
    result = run('launch/demo.sh', '--work_dir=x')
    self.assertEqual(result.returncode, 2)
    self.assertIn('unknown argument --work_dir=x', result.stderr)

  def test_ci_is_the_documented_test_command(self):
    self.assertIn('exec bash launch/test.sh', (ROOT / '.ci/run').read_text())


if __name__ == '__main__':
  absltest.main()
