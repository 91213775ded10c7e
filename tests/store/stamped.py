"""Snapshots whose every number is their version, and a process of them.

Run as `python -m tests.store.stamped ADDRESS VERB`, it says what it does line
by line:
  publish    writes and publishes versions until it is killed
  pause      stops in the middle of writing one, until it is killed
"""

from collections.abc import Iterator
import sys

import numpy as np

from limaml_jax.store import address
from limaml_jax.store import backend as backend_lib
from limaml_jax.store import manifest as manifest_lib
from limaml_jax.store import record
from limaml_jax.store import snapshot

KEYS = [f'entity {i}' for i in range(500)]
DIMENSION = 8


def write(store: backend_lib.Backend) -> manifest_lib.Manifest:
  """Writes the next version."""
  existing = store.versions('user')
  number = int(existing[-1]) + 1 if existing else 1
  return snapshot.write(
      store,
      'user',
      chunks(number),
      default_embedding=np.full(DIMENSION, number),
      fingerprint='model',
      cutoff=number,
      created=number,
  )


def chunks(number: int) -> Iterator[record.Chunk]:
  for start in (0, 250):
    keys = KEYS[start : start + 250]
    yield record.Chunk(
        keys, np.full((250, DIMENSION), float(number)), np.full(250, number)
    )


def describe(
    written: backend_lib.Written, entity_type: str
) -> manifest_lib.Manifest:
  """Returns a manifest for who drives a writer by hand; dimension 2."""
  return manifest_lib.Manifest(
      entity_type=entity_type,
      fingerprint='model',
      dimension=2,
      dtype='float32',
      cutoff=1,
      watermark=1,
      created=1,
      default_embedding=(0.0, 0.0),
      generator={},
      **written._asdict(),
  )


def half(number: int) -> Iterator[record.Chunk]:
  yield next(chunks(number))
  print('halfway', flush=True)
  sys.stdin.read()


def main(where: str, verb: str) -> None:
  store = address.open_backend(where)
  if verb == 'pause':
    snapshot.write(
        store,
        'user',
        half(1),
        default_embedding=np.zeros(DIMENSION),
        fingerprint='model',
        cutoff=1,
        created=1,
    )
  while verb == 'publish':
    version = write(store).version
    snapshot.publish(store, 'user', version)
    print(version, flush=True)


if __name__ == '__main__':
  main(*sys.argv[1:])
