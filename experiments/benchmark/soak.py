r"""Soaks the scoring service: hours of requests while everything else changes.

    python -m experiments.benchmark soak --soak_seconds=900

serves two models from one bundle, their snapshots in a real Redis. Requests
come at --soak_load of the peak, while every --soak_publish seconds a snapshot
of the other model is published, and every --soak_restart seconds Redis is shut
down and started again; at half time one of the models is exported again. Each
answer is compared with what its snapshot and model make of the request. Prints
a JSON line: requests, `failed`, `mixed` (scores that are not those of the
snapshot and model they name), by status; how many snapshots, models and
versions of the bundle answers were from, restarts and exports; memory and p99
against those of the quiet minute before. Exit status 1 if any request failed or
was mixed, if less happened than was to, and, from --soak_seconds=300 on, if
memory grew by more than 2 % or p99 by more than half.
"""

import asyncio
import collections
import contextlib
import functools
import json
import os
import pathlib
import sys
import tempfile
import time

from absl import flags
import numpy as np

from experiments import progress
from experiments.benchmark import load
from experiments.benchmark import random_bundle
from experiments.benchmark import served
from experiments.benchmark import soak_verdict
from experiments.benchmark import surroundings
from limaml_jax import errors

_SECONDS = flags.DEFINE_float('soak_seconds', 60.0, 'How long.')
_LOAD = flags.DEFINE_float('soak_load', 0.7, 'Of the peak rate.')
_PUBLISH = flags.DEFINE_float('soak_publish', 30.0, 'Seconds from one to next.')
_RESTART = flags.DEFINE_float('soak_restart', 120.0, 'Seconds between them.')
_ENTITIES = flags.DEFINE_integer(
    'soak_entities',
    2_000,
    'In the store. While a snapshot is written Redis works: where it has no '
    'core of its own, the larger the snapshot, the longer requests wait.',
)
_ITEMS = flags.DEFINE_integer('soak_items', 10_000, 'In the bundle.')

_NUM_CANDIDATES = 100
_NUM_REQUESTS = 200
_NUM_MODELS = 2
_PEAK_SECONDS = 5.0
_QUIET_SECONDS = 60.0
_TOLERANCE = 1e-6
_SERVER_CORE, _LOAD_CORE = 0, 1


class _Checker:
  """Knows what each answer should be."""

  def __init__(self, directory: pathlib.Path):
    self._directory = directory
    self.statuses: collections.Counter[str] = collections.Counter()
    self.snapshots: set[str] = set()
    self.models: set[str] = set()
    self.bundles: set[str] = set()
    self.mixed = 0

  @functools.lru_cache(maxsize=8)  # noqa: B019
  def _expected(self, name: str) -> np.ndarray:
    return np.load(self._directory / f'{name}.npy')

  def check(self, number: int, answer: bytes) -> None:
    """Compares an answer with what it says of itself.

    Args:
      number: of the request.
      answer: to it, as it came over the wire.
    """
    response = load.read(answer)
    score, status, _, snapshot = response.raw_output_contents
    name = status[4:].decode()
    self.statuses[name] += 1
    model = response.parameters['fingerprint'].string_param
    self.bundles.add(response.parameters['bundle_version'].string_param)
    if name == 'PRESENT':
      self.snapshots.add(snapshot[4:].decode())
      self.models.add(model)
    # Whoever has no embedding has the default one of the model that scores.
    source = snapshot[4:].decode() if name == 'PRESENT' else model
    expected = self._expected(source)[number]
    found = np.frombuffer(score, np.float32)
    if name not in ('PRESENT', 'UNAVAILABLE') or not np.allclose(
        found, expected, rtol=0, atol=_TOLERANCE
    ):
      self.mixed += 1


def main() -> None:
  """Soaks, and prints what came of it."""
  served.check()
  with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
    directory = pathlib.Path(name)
    redis = surroundings.Redis(directory)
    redis.start()
    stack.callback(redis.stop)
    root = directory / 'bundle'
    for seed in range(_NUM_MODELS):
      random_bundle.write_bundle(root, num_items=_ITEMS.value, seed=seed)
    random_bundle.write_settings(root, redis.address)
    messages = _make_requests(directory)
    requests = str(directory / 'requests.json')
    publisher = surroundings.Publisher(
        str(root), redis.address, requests, name, str(_PUBLISH.value)
    )
    try:
      with served.serve(root, served.GUARDED, core=_SERVER_CORE) as server:
        os.sched_setaffinity(0, {_LOAD_CORE})
        found = _soak(server, redis, publisher, messages, _Checker(directory))
    finally:
      is_well, lines = publisher.end()
  found['publisher'] = 'ran' if is_well else 'ended early'
  found['exports'] = sum(line.startswith('bundle ') for line in lines)
  print(json.dumps(found))
  periods = soak_verdict.Periods(
      _SECONDS.value, _PUBLISH.value, _RESTART.value, _NUM_MODELS
  )
  if faults := soak_verdict.faults(found, periods):
    raise errors.InputError(f'soak: {"; ".join(faults)}; see above')


def _make_requests(directory: pathlib.Path) -> list[bytes]:
  """Writes the requests for the publisher; returns them as they are sent."""
  rng = np.random.default_rng(1)
  keys = random_bundle.entity_keys(_ENTITIES.value)
  items = random_bundle.item_keys(_ITEMS.value)
  entities = rng.integers(len(keys), size=_NUM_REQUESTS).tolist()
  candidates = [
      [items[n] for n in rng.integers(len(items), size=_NUM_CANDIDATES)]
      for _ in entities
  ]
  entity_keys = [keys[n] for n in entities]
  text = json.dumps({
      'num_entities': len(keys),
      'num_items': len(items),
      'entities': entities,
      'entity_keys': entity_keys,
      'candidates': candidates,
  })
  (directory / 'requests.json').write_text(text)
  return [
      load.message('limaml', [key], chosen)
      for key, chosen in zip(entity_keys, candidates, strict=True)
  ]


def _soak(server, redis, publisher, messages, checker) -> dict[str, object]:
  """Returns what came of it."""
  taken = load.closed_loop(
      server.grpc, messages, concurrency=8, seconds=_PEAK_SECONDS
  )
  peak = len(taken) / _PEAK_SECONDS
  rate = _LOAD.value * peak
  quiet_seconds = min(_QUIET_SECONDS, _SECONDS.value / 4)
  quiet = load.open_loop(
      server.grpc, messages, rate=rate, seconds=quiet_seconds
  )
  before = server.resident_bytes()
  publisher.tell()
  seconds, failed, restarts = asyncio.run(
      _send(server.grpc, messages, rate, checker, redis, publisher)
  )
  after = server.resident_bytes()
  quantile = lambda values: float(np.percentile(values, 99)) * 1e3
  return {
      'seconds': _SECONDS.value,
      'peak_per_s': round(peak),
      'requests': len(seconds),
      'failed': failed,
      'mixed': checker.mixed,
      'statuses': dict(checker.statuses),
      'snapshots': len(checker.snapshots),
      'models': len(checker.models),
      'bundles': len(checker.bundles),
      'restarts': restarts,
      'memory_mb': [round(before / 2**20), round(after / 2**20)],
      'memory_ratio': round(after / before, 4),
      'quiet_p99_ms': round(quantile(quiet), 3),
      'p99_ms': round(quantile(seconds), 3),
      'p99_ratio': round(quantile(seconds) / quantile(quiet), 2),
  }


async def _send(address, messages, rate, checker, redis, publisher):
  """Returns the seconds of each request, and how many failed; restarts.

  Ends early if the publisher does, or Redis does not come up again.
  """
  import grpc
  from grpc import aio

  taken: list[float] = []
  failed = 0

  async def ask(call, number, due):
    nonlocal failed
    try:
      answer = await call(messages[number])
    except grpc.RpcError as error:
      failed += 1
      print(f'failed: {error}', file=sys.stderr)
      return
    taken.append(time.perf_counter() - due)
    checker.check(number, answer)

  over = asyncio.Event()
  restarts = asyncio.create_task(_restart_again_and_again(redis, over))
  async with aio.insecure_channel(address) as channel:
    call = channel.unary_unary(load.METHOD)
    start = time.perf_counter()
    with progress.bar('soak') as update:
      async with asyncio.TaskGroup() as tasks:
        total = int(rate * _SECONDS.value)
        for n in range(total):
          due = start + n / rate
          if (pause := due - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
          tasks.create_task(ask(call, n % len(messages), due))
          if n == total // 2:
            publisher.tell()
          if n % 1000 == 0:
            update(n, total)
            if restarts.done() or not publisher.is_running():
              break
  over.set()
  return np.asarray(taken), failed, await restarts


async def _restart_again_and_again(redis, over) -> int:
  """Returns how often, when it is over."""
  number = 0
  while True:
    with contextlib.suppress(TimeoutError):
      await asyncio.wait_for(over.wait(), _RESTART.value)
      return number
    await asyncio.to_thread(redis.stop)
    await asyncio.to_thread(redis.start)
    number += 1
