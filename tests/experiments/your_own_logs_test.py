import os
import pathlib
import re
import subprocess
import sys

from absl.testing import absltest
import pytest

from tests.experiments import commands

_PAGE = commands.ROOT / 'docs' / 'your_own_logs.md'
_BLOCK = re.compile(r'^```(\w+)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_SIZES = {'--rows=200000': '--rows=4000', '--entities=5000': '--entities=100'}
# Numbers, times, shares, and the hash of a model.
_NUMBER = re.compile(r'model \w+|[-+]?\d[\d,.:T+-]*(e[-+]?\d+)?')


def shape(line):
  """Returns a line without its numbers, and how they are aligned."""
  return ' '.join(_NUMBER.sub('#', line).split())


@pytest.mark.slow
class YourOwnLogsTest(absltest.TestCase):
  """Runs the page: each command succeeds, and prints lines like those shown."""

  def setUp(self):
    super().setUp()
    self.dir = pathlib.Path(self.create_tempdir().full_path)
    for name in ('experiments', 'limaml_jax'):
      (self.dir / name).symlink_to(commands.ROOT / name)

  def run_block(self, text):
    for size, smaller in _SIZES.items():
      text = text.replace(size, smaller)
    path = f'{pathlib.Path(sys.executable).parent}:{os.environ["PATH"]}'
    return subprocess.run(
        ['bash', '-euo', 'pipefail', '-c', text],
        cwd=self.dir,
        env={**os.environ, 'PATH': path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

  def check_lines(self, shown, printed):
    known = {shape(line) for line in printed.splitlines()}
    for line in shown.splitlines():
      if line != '...':
        self.assertIn(shape(line), known, printed)

  def test_every_command_does_what_the_page_says(self):
    blocks = _BLOCK.findall(_PAGE.read_text())
    printed, num_commands = '', 0
    for kind, text in blocks:
      if kind == 'toml':
        (self.dir / 'runs/mine').mkdir(parents=True, exist_ok=True)
        (self.dir / 'runs/mine/schema.toml').write_text(text)
      elif kind == 'bash':
        result = self.run_block(text)
        self.assertEqual(result.returncode, 0, f'{text}\n{result}')
        printed = result.stdout
        num_commands += 1
      elif kind == 'text':
        self.check_lines(text, printed)
    self.assertGreaterEqual(num_commands, 7)


if __name__ == '__main__':
  absltest.main()
