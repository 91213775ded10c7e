"""A real `mlserver start`, of any bundle, which ends with its test."""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
from typing import Any
import unittest
import urllib.request

from tests import ports
from tests import small_bundle

PATIENCE_SECONDS = 90  # Before a server that is not up is called broken.
_REPOSITORY = pathlib.Path(__file__).parents[1]
_PROGRAM = pathlib.Path(sys.executable).with_name('mlserver')


class Served:
  """A server and what it says."""

  def __init__(self, root: pathlib.Path, environment: Mapping[str, str]):
    """Starts it, and does not wait.

    Args:
      root: folder of the bundle.
      environment: added to that of this process.
    """
    settings = json.loads((root / 'settings.json').read_text())
    self.host = settings['host']
    self.http_port = settings['http_port']
    self.grpc_port = settings['grpc_port']
    self.metrics_port = settings['metrics_port']
    self.lines: list[str] = []
    self._news = threading.Condition()
    self._has_ended = False
    self.process = subprocess.Popen(
        [_PROGRAM, 'start', root],
        cwd=root,
        env=os.environ
        | {'PYTHONPATH': str(_REPOSITORY), 'PYTHONUNBUFFERED': '1'}
        | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors='replace',
    )
    self._listener = threading.Thread(target=self._listen, daemon=True)
    self._listener.start()

  @property
  def http(self) -> str:
    """HOST:PORT of REST."""
    return f'{self.host}:{self.http_port}'

  @property
  def grpc(self) -> str:
    """HOST:PORT of gRPC."""
    return f'{self.host}:{self.grpc_port}'

  @property
  def log(self) -> str:
    """All that it has said so far."""
    with self._news:
      return '\n'.join(self.lines)

  def wait_for(self, *texts: str) -> None:
    """Waits until each of them stands in the log.

    Raises:
      AssertionError: if the server ends first, or says it too late.
    """
    with self._news:
      self._news.wait_for(
          lambda: self._has_ended or self._says(texts), PATIENCE_SECONDS
      )
      is_said = self._says(texts)
    if not is_said:
      state = 'ended' if self._has_ended else 'is silent'
      raise AssertionError(f'{texts}: mlserver {state}:\n{self.log[-5000:]}')

  def wait_until_ready(self) -> None:
    """Waits until all ports are open, and the model is loaded."""
    self.wait_for(
        'Loaded model',
        'gRPC server running',
        f':{self.http_port} (Press',
        f':{self.metrics_port} (Press',
    )

  def metrics(self) -> dict[str, float]:
    """Returns what Prometheus would see, by name and labels."""
    url = f'http://{self.host}:{self.metrics_port}/metrics'
    with urllib.request.urlopen(url, timeout=10) as response:
      lines = response.read().decode().splitlines()
    pairs = [line.rsplit(' ', 1) for line in lines if line[:1] != '#']
    return {name: float(value) for name, value in pairs}

  def resident_bytes(self) -> int:
    """Returns the memory that it holds."""
    statm = pathlib.Path(f'/proc/{self.process.pid}/statm').read_text()
    return int(statm.split()[1]) * os.sysconf('SC_PAGE_SIZE')

  def end(self) -> int:
    """Asks it to end; returns its exit status."""
    self.process.terminate()
    return self.wait()

  def wait(self) -> int:
    """Waits until it has ended; kills it if it does not."""
    try:
      return self.process.wait(PATIENCE_SECONDS)
    finally:
      self.process.kill()
      self.process.wait()
      self._listener.join()
      self.process.stdout.close()

  def _says(self, texts):
    return all(any(text in line for line in self.lines) for text in texts)

  def _listen(self):
    for line in self.process.stdout:
      with self._news:
        self.lines.append(line.rstrip('\n'))
        self._news.notify_all()
    with self._news:
      self._has_ended = True
      self._news.notify_all()


@contextlib.contextmanager
def serve(
    root: str | pathlib.Path,
    *,
    settings: Mapping[str, Any] | None = None,
    access: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    wait: bool = True,
) -> Iterator[Served]:
  """Serves a bundle on free ports, until the block ends.

  Args:
    root: folder of a bundle; its two files of settings are edited.
    settings: of the server, added to those in settings.json.
    access: arguments of the repository, added to those there.
    extra: settings of the service, added to those in model-settings.json.
    environment: added to that of this process.
    wait: until it is ready; False hands it over at once.
  """
  skip_without_mlserver()
  root = pathlib.Path(root)
  names = ('http_port', 'grpc_port', 'metrics_port')
  chosen = dict(zip(names, ports.free_ports(3), strict=True))
  with _edited(root / 'settings.json') as fields:
    fields |= chosen | dict(settings or {})
    arguments = fields.setdefault('model_repository_implementation_args', {})
    arguments |= access or {}
  with _edited(root / 'model-settings.json') as fields:
    fields['parameters'].setdefault('extra', {}).update(extra or {})
  served = Served(root, environment or {})
  try:
    if wait:
      served.wait_until_ready()
    yield served
  finally:
    served.end()


def make_bundle(directory: str | pathlib.Path) -> small_bundle.SmallBundle:
  """Returns a small bundle with settings of a server, published."""
  skip_without_mlserver()
  made = small_bundle.make(directory)
  small_bundle.write_settings(made, (8080, 8081, 8082))
  return made


def copy(
    made: small_bundle.SmallBundle, directory: str | pathlib.Path
) -> small_bundle.SmallBundle:
  """Returns the same bundle and store in another, new folder."""
  directory = pathlib.Path(directory)
  shutil.copytree(made.root.parent, directory, dirs_exist_ok=True)
  made = made._replace(
      root=directory / 'bundle',
      store=f'lmdb:{directory / "store"}',
  )
  small_bundle.write_settings(made, (8080, 8081, 8082))
  return made


def skip_without_mlserver() -> None:
  """Skips where MLServer is not installed, as on Python 3.13."""
  if importlib.util.find_spec('mlserver') is None or not _PROGRAM.exists():
    raise unittest.SkipTest(
        'mlserver is not installed; see requirements-test.txt: THE SERVER IS'
        ' NOT TESTED'
    )


@contextlib.contextmanager
def temporary_bundle() -> Iterator[small_bundle.SmallBundle]:
  """Makes a small bundle that is gone when the block ends."""
  with tempfile.TemporaryDirectory() as folder:
    yield make_bundle(folder)


@contextlib.contextmanager
def _edited(path: pathlib.Path) -> Iterator[dict[str, Any]]:
  fields = json.loads(path.read_text())
  yield fields
  path.write_text(json.dumps(fields))
