"""Snapshots whose every number is their version, and a process of them.

Run as `python -m tests.store.stamped ROOT VERB`, it says what it does line by
line:
  publish    writes and publishes versions until it is killed
  pause      stops in the middle of writing one, until it is killed
"""

from collections.abc import Iterator
import sys

import numpy as np

from limaml_jax.store import manifest as manifest_lib
from limaml_jax.store import record
from limaml_jax.store import snapshot

KEYS = [f'entity {i}' for i in range(500)]
DIMENSION = 8


def write(root: str) -> manifest_lib.Manifest:
  """Writes the next version."""
  existing = snapshot.versions(root, 'user')
  number = int(existing[-1]) + 1 if existing else 1
  return snapshot.write_chunks(
      root,
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


def half(number: int) -> Iterator[record.Chunk]:
  yield next(chunks(number))
  print('halfway', flush=True)
  sys.stdin.read()


def main(root: str, verb: str) -> None:
  if verb == 'pause':
    snapshot.write_chunks(
        root,
        'user',
        half(1),
        default_embedding=np.zeros(DIMENSION),
        fingerprint='model',
        cutoff=1,
        created=1,
    )
  while verb == 'publish':
    version = write(root).version
    snapshot.publish(root, 'user', version)
    print(version, flush=True)


if __name__ == '__main__':
  main(*sys.argv[1:])
