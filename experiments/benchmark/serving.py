r"""Times the scoring service against what its host costs by itself.

    python -m experiments.benchmark serve

makes a bundle of random parameters and a store in LMDB, and serves it on one
core; beside it, a bare MLServer returns the same payload: one entity and
--serve_candidates items, by key, over gRPC. Requests come from another core,
from so many clients that each wait for their answer, in turns to the one and
to the other server, and then at a fixed rate. It prints a JSON line for each,
`p99_ratio` being of ours to the echo's, and one for the stages of a request.
"""

import contextlib
import json
import os
import pathlib
import tempfile

from absl import flags
import numpy as np

from experiments import progress
from experiments.benchmark import load
from experiments.benchmark import random_bundle
from experiments.benchmark import served
from limaml_jax.store import address
from limaml_jax.store import snapshot

_ENTITIES = flags.DEFINE_integer(
    'serve_entities', 1_000_000, 'In the store.', lower_bound=1
)
_ITEMS = flags.DEFINE_integer(
    'serve_items', 100_000, 'That the bundle knows.', lower_bound=1
)
_CANDIDATES = flags.DEFINE_integer(
    'serve_candidates', 100, 'Of a request.', lower_bound=1
)
_CLIENTS = flags.DEFINE_list(
    'serve_clients', ['1', '4', '8'], 'Numbers of clients, by commas.'
)
_RATE = flags.DEFINE_float(
    'serve_rate', 1000.0, 'Requests a second, of the last round.'
)
_SECONDS = flags.DEFINE_float('serve_seconds', 3.0, 'Of a turn.')
_TURNS = flags.DEFINE_integer('serve_turns', 5, 'Of each.', lower_bound=1)

_NUM_REQUESTS = 2000
_SERVER_CORE, _LOAD_CORE = 0, 1


def main() -> None:
  """Times both servers, and prints what they take."""
  served.check()
  with tempfile.TemporaryDirectory() as name:
    directory = pathlib.Path(name)
    _make_ours(directory)
    served.make_echo(directory / 'echo')
    requests = {
        model: load.messages(
            model,
            random_bundle.entity_keys(_ENTITIES.value),
            random_bundle.item_keys(_ITEMS.value),
            num_candidates=_CANDIDATES.value,
            number=_NUM_REQUESTS,
        )
        for model in ('echo', 'limaml')
    }
    settings = {'echo': {}, 'bundle': served.GUARDED}
    with contextlib.ExitStack() as stack:
      echo, ours = (
          stack.enter_context(
              served.serve(directory / model, fields, core=_SERVER_CORE)
          )
          for model, fields in settings.items()
      )
      os.sched_setaffinity(0, {_LOAD_CORE})
      _run({'echo': echo, 'limaml': ours}, requests)


def _make_ours(directory: pathlib.Path) -> None:
  """Writes a bundle and its store, published."""
  rng = np.random.default_rng(0)
  store = address.open_backend(directory / 'store')
  manifest = random_bundle.write_snapshot(
      store, rng.normal(size=(_ENTITIES.value, random_bundle.dimension()))
  )
  snapshot.publish(store, random_bundle.ENTITY_TYPE, manifest.version)
  root = directory / 'bundle'
  random_bundle.write_bundle(root, num_items=_ITEMS.value)
  random_bundle.write_settings(root, f'lmdb:{directory / "store"}')


def _run(servers, requests) -> None:
  rounds = [(f'{n} clients', int(n), 0.0) for n in _CLIENTS.value]
  rounds.append((f'{_RATE.value:g} requests/s', 0, _RATE.value))
  ours = servers['limaml']
  before = ours.stages()
  with progress.bar('serve') as update:
    for number, (name, concurrency, rate) in enumerate(rounds):
      seconds = {model: [] for model in servers}
      for _ in range(_TURNS.value):
        for model, server in servers.items():
          seconds[model].append(
              _turn(server.grpc, requests[model], concurrency, rate)
          )
      print(json.dumps({'load': name} | _compare(seconds)))
      update(number + 1, len(rounds))
  after = ours.stages()
  profile = {
      f'{stage}_us': round(
          1e6 * (total - before[stage][0]) / (count - before[stage][1]), 1
      )
      for stage, (total, count) in after.items()
  }
  memory = round(ours.resident_bytes() / 2**20)
  print(json.dumps({'stages': profile, 'resident_mb': memory}))


def _turn(address, requests, concurrency, rate) -> np.ndarray:
  if rate:
    return load.open_loop(
        address, requests, rate=rate, seconds=_SECONDS.value
    )
  return load.closed_loop(
      address, requests, concurrency=concurrency, seconds=_SECONDS.value
  )


def _compare(seconds) -> dict[str, float]:
  """Returns rates and quantiles of both; each the median over turns."""
  found = {}
  for model, turns in seconds.items():
    quantiles = [np.percentile(turn, [50, 99]) * 1e3 for turn in turns]
    p50, p99 = np.median(quantiles, axis=0)
    rate = np.median([len(turn) for turn in turns]) / _SECONDS.value
    found |= {
        f'{model}_per_s': round(rate),
        f'{model}_p50_ms': round(p50, 3),
        f'{model}_p99_ms': round(p99, 3),
    }
  found['p99_ratio'] = round(found['limaml_p99_ms'] / found['echo_p99_ms'], 2)
  return found
