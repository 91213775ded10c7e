r"""Publisher: snapshot after snapshot, each of another model than the last.

    python -m experiments.benchmark.publisher BUNDLE STORE REQUESTS OUTPUT \
        PERIOD

publishes at once; from the first line of its input on every PERIOD seconds,
until its input ends. Each further line makes it export the first model again.
It prints a line for each snapshot and each version of the bundle. Before it
publishes a snapshot, it leaves the scores of all requests of the JSON file
REQUESTS in OUTPUT/<version>.npy, and those of default embeddings in
OUTPUT/<model>.npy: whoever reads can tell which snapshot and which model an
answer is from, and that it is of no others.
"""

import itertools
import json
import pathlib
import select
import sys
import time

import numpy as np

from experiments.benchmark import random_bundle
from limaml_jax import errors
from limaml_jax.bundle import directory
from limaml_jax.bundle import reading
from limaml_jax.serving import features
from limaml_jax.serving import request as request_lib
from limaml_jax.serving import runner as runner_lib
from limaml_jax.serving import settings as settings_lib
from limaml_jax.store import address
from limaml_jax.store import snapshot


def main(
    bundle: str, store: str, requests: str, output: str, period: str
) -> None:
  """Publishes until the input ends."""
  root, kept = pathlib.Path(bundle), pathlib.Path(output)
  asked = json.loads(pathlib.Path(requests).read_text())
  models = [
      _Model(root, version, asked) for version in directory.versions(root)
  ]
  for model in models:
    _save(kept / f'{model.fingerprint}.npy', model.score(None))
  backend = address.open_backend(store)
  rng = np.random.default_rng(0)
  for turn in itertools.count():
    start = time.monotonic()
    model = models[turn % len(models)]
    vectors = rng.normal(size=(asked['num_entities'], model.dimension))
    vectors = vectors.astype(np.float32)
    try:
      manifest = random_bundle.write_snapshot(
          backend, vectors, seed=model.seed, dtype='float32'
      )
      _save(kept / f'{manifest.version}.npy', model.score(vectors))
      snapshot.publish(backend, random_bundle.ENTITY_TYPE, manifest.version)
      snapshot.prune(backend, random_bundle.ENTITY_TYPE, keep=3)
      print(f'snapshot {manifest.version}', flush=True)
    except errors.InputError as error:  # The store is down for a moment.
      print(f'not published: {error}', file=sys.stderr, flush=True)
    if turn == 0:
      if not sys.stdin.readline():
        return
      continue
    wait = max(start + float(period) - time.monotonic(), 0)
    if select.select([sys.stdin], [], [], wait)[0]:
      if not sys.stdin.readline():
        return
      random_bundle.write_bundle(
          root, num_items=asked['num_items'], seed=models[0].seed
      )
      print(f'bundle {directory.current(root)}', flush=True)


class _Model:
  """A version of the bundle, and the features of all requests."""

  def __init__(self, root, version, asked):
    bundle = reading.open_bundle(root, version)
    self.fingerprint = bundle.manifest.fingerprint
    self.seed = int(self.fingerprint.rpartition('-')[2])
    self.dimension = bundle.manifest.dimension
    self._runner = runner_lib.Runner(
        bundle, runner_lib.compiled(bundle.program), 1
    )
    self._default = bundle.default
    self._entities = asked['entities']
    limits = settings_lib.Settings(store='none')
    self._joined = [
        features.join(
            bundle, request_lib.make([key], items, {}, limits=limits)
        )[0]
        for key, items in zip(
            asked['entity_keys'], asked['candidates'], strict=True
        )
    ]

  def score(self, vectors):
    """Returns the scores of all requests, [requests, candidates]."""
    scores = []
    for entity, joined in zip(self._entities, self._joined, strict=True):
      vector = self._default if vectors is None else vectors[entity]
      owners = np.zeros(len(joined.ids), np.int32)
      scores.append(self._runner.score(vector[None], owners, joined))
    return np.stack(scores)


def _save(path: pathlib.Path, scores: np.ndarray) -> None:
  """Writes a file, whole or not at all."""
  temporary = path.with_suffix('.tmp')
  with open(temporary, 'wb') as file:
    np.save(file, scores)
  temporary.replace(path)


if __name__ == '__main__':
  main(*sys.argv[1:])
