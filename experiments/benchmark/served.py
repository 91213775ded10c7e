"""Served: `mlserver start` on a core of its own, until it is left."""

from collections.abc import Iterator
import contextlib
import importlib.util
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time
from typing import NamedTuple
import urllib.error
import urllib.request

from limaml_jax import errors

# Settings of a server for a bundle.
GUARDED = {
    'model_repository_implementation': (
        'limaml_jax.serving.open_inference.Repository'
    )
}
_PATIENCE_SECONDS = 120
_STAGE_PATTERN = re.compile(
    r'limaml_stage_seconds_(sum|count){stage="(\w+)"} (\S+)'
)


class Server(NamedTuple):
  """A server that is ready.

  Attributes:
    grpc: its address.
    metrics: its page for Prometheus.
    pid: of its process.
  """

  grpc: str
  metrics: str
  pid: int

  def stages(self) -> dict[str, tuple[float, float]]:
    """Returns seconds and number of requests so far, by stage."""
    with urllib.request.urlopen(self.metrics) as page:
      text = page.read().decode()
    found: dict[str, dict[str, float]] = {}
    for what, stage, value in _STAGE_PATTERN.findall(text):
      found.setdefault(stage, {})[what] = float(value)
    return {
        stage: (values['sum'], values['count'])
        for stage, values in found.items()
    }

  def resident_bytes(self) -> int:
    """Returns the memory that the process holds."""
    text = pathlib.Path(f'/proc/{self.pid}/status').read_text()
    line = next(x for x in text.splitlines() if x.startswith('VmRSS'))
    return int(line.split()[1]) * 1024


def check() -> None:
  """Makes sure that a server can be started here.

  Raises:
    InputError: if it cannot.
  """
  if importlib.util.find_spec('mlserver') is None:
    raise errors.InputError(
        "MLServer is not installed; pip install '.[serving]', in Python 3.11 or"
        ' 3.12'
    )
  if len(os.sched_getaffinity(0)) < 2:
    raise errors.InputError(
        'one core is too few for a server and its load; run it where there are'
        ' two'
    )


@contextlib.contextmanager
def serve(
    directory: pathlib.Path, settings: dict, *, core: int
) -> Iterator[Server]:
  """Runs `mlserver start` on one core, until it is left.

  Args:
    directory: of the model; its settings.json is written here.
    settings: of it, besides the ports.
    core: of this machine.

  Raises:
    InputError: if it does not become ready; shows its last words.
  """
  http, grpc, metrics = _free_ports(3)
  text = json.dumps(
      {
          'host': '127.0.0.1',
          'http_port': http,
          'grpc_port': grpc,
          'metrics_port': metrics,
          'parallel_workers': 0,
          'debug': False,
      }
      | settings
  )
  (directory / 'settings.json').write_text(text)
  program_path = pathlib.Path(sys.executable).with_name('mlserver')
  log = directory / 'server.log'
  cores = os.sched_getaffinity(0)
  os.sched_setaffinity(0, {core})  # Which the new process inherits.
  with open(log, 'wb') as output:
    process = subprocess.Popen(
        [program_path, 'start', str(directory)],
        stdout=output,
        stderr=subprocess.STDOUT,
        env=os.environ | {'PYTHONPATH': os.getcwd(), 'JAX_PLATFORMS': 'cpu'},
    )
  os.sched_setaffinity(0, cores)
  try:
    _await_ready(process, f'http://127.0.0.1:{http}/v2/health/ready', log)
    yield Server(
        f'127.0.0.1:{grpc}',
        f'http://127.0.0.1:{metrics}/metrics',
        process.pid,
    )
  finally:
    process.terminate()
    try:
      process.wait(20)
    except subprocess.TimeoutExpired:
      process.kill()
      process.wait()


def _await_ready(process, url, log):
  give_up = time.monotonic() + _PATIENCE_SECONDS
  while time.monotonic() < give_up:
    if process.poll() is not None:
      break
    with contextlib.suppress(urllib.error.URLError, ConnectionError):
      with urllib.request.urlopen(url, timeout=5):
        return
    time.sleep(0.2)
  words = log.read_text(errors='replace')[-300:]
  raise errors.InputError(f'{log}: the server is not ready: {words}')


def _free_ports(number: int) -> list[int]:
  with contextlib.ExitStack() as stack:
    sockets = [
        stack.enter_context(socket.create_server(('127.0.0.1', 0)))
        for _ in range(number)
    ]
    return [s.getsockname()[1] for s in sockets]


def make_echo(directory: pathlib.Path) -> None:
  """Writes the model that returns its inputs."""
  directory.mkdir()
  fields = {
      'name': 'echo',
      'implementation': 'experiments.benchmark.echo.Echo',
  }
  (directory / 'model-settings.json').write_text(json.dumps(fields))
