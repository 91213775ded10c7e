"""Runs what README.md and docs/serving.md show, and compares what it prints."""

import collections
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading

from absl.testing import absltest

from tests import ports
from tests.experiments import commands

_BLOCK = re.compile(r'^```(\w+)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
# Numbers, and the fingerprint of a model.
_NUMBER = re.compile(r'\b[0-9a-f]{16}\b|[-+]?\d[\d.]*(e[-+]?\d+)?')
READY = "Loaded model 'limaml' successfully"


def section(page, title):
  """Returns the blocks of a section of a page: (kind, text)."""
  text = (commands.ROOT / page).read_text()
  _, _, rest = text.partition(f'\n## {title}\n')
  return _BLOCK.findall(rest.partition('\n## ')[0])


def shape(text):
  """Returns a text without its numbers, and how they are aligned."""
  spaced = _NUMBER.sub('#', text).replace('[', '[ ').replace(']', ' ]')
  return ' '.join(spaced.split())


class Pages(absltest.TestCase):
  """What README starts, and the checks of what pages say of it.

  Attributes:
    settings: flags of each verb before the export.
  """

  settings: tuple[str, ...] = ()

  @classmethod
  def write_raw(cls, directory):
    """Puts the raw log into a directory; where it lies, if elsewhere."""
    raise NotImplementedError

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.dir = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.dir)
    for name in ('experiments', 'limaml_jax'):
      (cls.dir / name).symlink_to(commands.ROOT / name)
    raw = cls.write_raw(cls.dir / 'raw')
    mine = cls.dir / 'runs/mine'
    tasks, run = f'--data={mine / "tasks"}', f'--workdir={mine / "limaml"}'
    for verb, *flags in (
        ('prepare', f'--data_dir={raw}', f'--output={mine / "tasks"}',
         *cls.settings),
        ('train', tasks, run, *cls.settings),
        ('refresh', tasks, run),
    ):  # fmt: skip
      result = commands.run(verb, *flags)
      if result.returncode:
        raise AssertionError(result.stderr[-3000:])
    chosen = map(str, ports.free_ports(3))
    cls.ports = dict(zip(('8080', '8081', '8082'), chosen, strict=True))
    (kind, text), *_ = section('README.md', 'Serving')
    *before, last = text.strip().splitlines()
    cls.exported = cls.run_block(kind, '\n'.join(before))
    cls.start(last)

  @classmethod
  def on_free_ports(cls, text):
    for port, free in cls.ports.items():
      text = text.replace(port, free)
    return text

  @classmethod
  def run_block(cls, kind, text):
    shell = ['bash', '-euo', 'pipefail', '-c', text]
    command = {'bash': shell, 'python': [sys.executable, '-c', text]}[kind]
    result = subprocess.run(
        command, cwd=cls.dir, env=cls.environment(), capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    if result.returncode:
      raise AssertionError(f'{text}\n{result.stderr[-3000:]}')
    return result.stdout

  @classmethod
  def environment(cls):
    path = f'{pathlib.Path(sys.executable).parent}:{os.environ["PATH"]}'
    return {**os.environ, 'PATH': path, 'JAX_PLATFORMS': 'cpu'}

  @classmethod
  def start(cls, command):
    """Starts the server, and waits for what README says that it says."""
    settings = cls.dir / 'runs/mine/bundle/settings.json'
    settings.write_text(cls.on_free_ports(settings.read_text()))
    server = subprocess.Popen(
        command.split(), cwd=cls.dir, env=cls.environment(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    cls.addClassCleanup(server.wait)
    cls.addClassCleanup(server.terminate)
    said = []
    for line in server.stdout:
      said.append(line)
      if READY in line:
        # What it says from now on must go somewhere.
        threading.Thread(target=server.stdout.read, daemon=True).start()
        return
    raise AssertionError(f'the server ended: {"".join(said)[-3000:]}')

  def check(self, kind, shown, printed):
    if kind == 'json':
      shown, printed = (
          json.dumps(json.loads(text), sort_keys=True)
          for text in (shown, printed)
      )
    self.assertEqual(shape(shown), shape(printed))

  def run_all(self, blocks):
    """Runs blocks, and checks what they print; returns how many of each."""
    printed, done = '', collections.Counter()
    for kind, text in blocks:
      if kind in ('text', 'json'):
        self.check(kind, text, printed)
        done['checked'] += 1
      else:
        printed = self.run_block(kind, self.on_free_ports(text))
        done[kind] += 1
    return done
