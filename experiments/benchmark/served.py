"""Servers on a core of their own, and a bundle of random parameters."""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
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

import jax
import numpy as np

from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax import types
from limaml_jax.blocks import model as model_lib
from limaml_jax.export import program
from limaml_jax.export import writing
from limaml_jax.store import address
from limaml_jax.store import snapshot

_PATIENCE_SECONDS = 120
_NUM_AUTHORS, _NUM_TAGS, _NUM_HOURS = 5000, 60, 25
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


def make_bundle(
    directory: pathlib.Path, *, num_entities: int, num_items: int
) -> tuple[Sequence[str], Sequence[str]]:
  """Writes a bundle and its store, of random parameters; returns the keys.

  Args:
    directory: receives `bundle` and `store`.
    num_entities: in the store, float16.
    num_items: that the bundle knows.

  Returns:
    Keys of entities, and of items.
  """
  half, config = _make_half(num_items)
  size = config.model.meta_block.embedding_size
  rng = np.random.default_rng(0)
  items = writing.Known(
      np.asarray([f'item-{n:08d}' for n in range(num_items)]),
      {
          'item_id': np.arange(1, num_items + 1, dtype=np.int32),
          'author': rng.integers(1, _NUM_AUTHORS, num_items, np.int32),
          'tags': rng.integers(1, _NUM_TAGS, (num_items, 3), np.int32),
          'duration': rng.normal(size=num_items).astype(np.float32),
      },
  )
  writing.write(
      directory / 'bundle',
      half,
      writing.Facts('user', 'item_id', 'user_id', 'benchmark',
                    np.zeros(size, np.float32), 0),
      items=items,
      entities=writing.Known(np.zeros(0, np.str_), {}),
      vocabularies={
          'item_id': items.keys.tolist(),
          'author': [f'a{n}' for n in range(1, _NUM_AUTHORS)],
          'tags': [f't{n}' for n in range(1, _NUM_TAGS)],
          'hour': [str(n) for n in range(1, _NUM_HOURS)],
      },
  )  # fmt: skip
  keys = [f'user-{n:08d}' for n in range(num_entities)]
  store = address.open_backend(directory / 'store')
  manifest = snapshot.write_arrays(
      store,
      'user',
      keys=keys,
      vectors=rng.normal(size=(num_entities, size)),
      watermarks=np.full(num_entities, int(time.time())),
      default_embedding=np.zeros(size),
      fingerprint='benchmark',
      cutoff=int(time.time()),
      created=int(time.time()),
      dtype='float16',
  )
  snapshot.publish(store, 'user', manifest.version)
  fields = {
      'name': 'limaml',
      'implementation': 'limaml_jax.serving.open_inference.Runtime',
      'parameters': {
          'uri': '.',
          'extra': {'store': f'lmdb:{directory / "store"}'},
      },
  }
  path = directory / 'bundle' / 'model-settings.json'
  path.write_text(json.dumps(fields))
  return keys, items.keys.tolist()


def _make_half(num_items: int):
  """Returns a global block of random parameters, and its settings."""
  config = config_lib.Config()
  make = types.FeatureSpec
  specs = (
      make('user_id', 'categorical', 'entity', 'meta', 1000),
      make('age', 'numeric', 'entity', 'meta'),
      make('item_id', 'categorical', 'item', 'global', num_items + 1),
      make('author', 'categorical', 'item', 'global', _NUM_AUTHORS),
      make('tags', 'multi_hot', 'item', 'global', _NUM_TAGS, 3),
      make('duration', 'numeric', 'item', 'global'),
      make('hour', 'categorical', 'context', 'global', _NUM_HOURS),
  )
  model = model_lib.make_model(
      config, specs=specs, entity_type='user', entity_feature='user_id'
  )
  params = model.init(jax.random.key(0))
  half = program.GlobalHalf(
      params=params.global_block,
      tables=params.tables,
      specs=model.global_specs,
      layout=model.layout,
      config=config.model.global_block,
  )
  return half, config
