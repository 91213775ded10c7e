"""The section "Serving" of README.md: each command prints what stands there.

On a small log of the names and the paths of MovieLens-100K.
"""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

from absl.testing import absltest
import pytest

from tests.experiments import commands

for _module in ('mlserver', 'tritonclient'):
  pytest.importorskip(_module, reason=f'README NOT RUN: no {_module} here')

_BLOCK = re.compile(r'^```(\w+)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
# Numbers, and the fingerprint of a model.
_NUMBER = re.compile(r'\b[0-9a-f]{16}\b|[-+]?\d[\d.]*(e[-+]?\d+)?')
_READY = "Loaded model 'limaml' successfully"


def section():
  """Returns the blocks of the section: (kind, text)."""
  text = (commands.ROOT / 'README.md').read_text()
  _, _, rest = text.partition('\n## Serving\n')
  return _BLOCK.findall(rest.partition('\n## ')[0])


def shape(text):
  """Returns a text without its numbers, and how they are aligned."""
  spaced = _NUMBER.sub('#', text).replace('[', '[ ').replace(']', ' ]')
  return ' '.join(spaced.split())


def free_ports(count):
  sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(count)]
  ports = [str(one.getsockname()[1]) for one in sockets]
  for one in sockets:
    one.close()
  return ports


class ReadmeTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.dir = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.dir)
    for name in ('experiments', 'limaml_jax'):
      (cls.dir / name).symlink_to(commands.ROOT / name)
    commands.write_log(cls.dir / 'raw', num_users=200, num_items=302)
    mine = cls.dir / 'runs/mine'
    tasks, run = f'--data={mine / "tasks"}', f'--workdir={mine / "limaml"}'
    for verb, *flags in (
        ('prepare', f'--data_dir={cls.dir / "raw"}',
         f'--output={mine / "tasks"}', *commands.SMALL),
        ('train', tasks, run, *commands.SMALL),
        ('refresh', tasks, run),
    ):  # fmt: skip
      result = commands.run(verb, *flags)
      if result.returncode:
        raise AssertionError(result.stderr[-3000:])
    cls.ports = dict(zip(('8080', '8081', '8082'), free_ports(3), strict=True))

  def on_free_ports(self, text):
    for port, free in self.ports.items():
      text = text.replace(port, free)
    return text

  def run_block(self, kind, text):
    shell = ['bash', '-euo', 'pipefail', '-c', text]
    command = {'bash': shell, 'python': [sys.executable, '-c', text]}[kind]
    result = subprocess.run(
        command, cwd=self.dir, env=self.environment(), capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    self.assertEqual(result.returncode, 0, f'{text}\n{result.stderr[-3000:]}')
    return result.stdout

  def environment(self):
    path = f'{pathlib.Path(sys.executable).parent}:{os.environ["PATH"]}'
    return {**os.environ, 'PATH': path, 'JAX_PLATFORMS': 'cpu'}

  def start(self, command):
    """Starts the server, and waits for what the text says that it says."""
    settings = self.dir / 'runs/mine/bundle/settings.json'
    settings.write_text(self.on_free_ports(settings.read_text()))
    server = subprocess.Popen(
        command.split(), cwd=self.dir, env=self.environment(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    self.addCleanup(server.wait)
    self.addCleanup(server.terminate)
    said = []
    for line in server.stdout:
      said.append(line)
      if _READY in line:
        # What it says from now on must go somewhere.
        drain = threading.Thread(target=server.stdout.read, daemon=True)
        drain.start()
        return
    self.fail(f'the server ended: {"".join(said)[-3000:]}')

  def check(self, kind, shown, printed):
    if kind == 'text':
      self.assertEqual(shape(shown), shape(printed))
      return
    shown, printed = json.loads(shown), json.loads(printed)
    self.assertEqual(shape(json.dumps(shown)), shape(json.dumps(printed)))

  def test_every_block_prints_what_stands_below_it(self):
    printed, done = '', []
    for kind, text in section():
      if kind in ('text', 'json'):
        self.check(kind, text, printed)
        done.append('check')
        continue
      *before, last = text.strip().splitlines()
      if last.startswith('mlserver '):
        printed = self.run_block(kind, '\n'.join(before))
        self.start(last)
      else:
        printed = self.run_block(kind, self.on_free_ports(text))
      done.append(kind)
    # Export and server, curl, and both clients; each with what it prints.
    expected = ['bash', 'check', 'bash', 'check', 'python', 'check']
    self.assertEqual(done, [*expected, 'python', 'check'])


if __name__ == '__main__':
  absltest.main()
