"""A store on a disk of 3 MB, in a process that may mount it.

  unshare -rm python -m tests.store.small_disk MOUNT_POINT

says line by line what happens when the disk is full, and then read-only.
"""

import subprocess
import sys

import numpy as np

from limaml_jax import errors
from limaml_jax.store import address
from limaml_jax.store import lookup
from limaml_jax.store import record
from limaml_jax.store import snapshot


def write(store, num_entities: int) -> str:
  """Writes and publishes 400 bytes for each entity; says how it went."""
  chunks = (
      record.Chunk(
          [f'{n:06d}' for n in range(start, start + 1000)],
          np.full((1000, 98), float(num_entities)),
          np.zeros(1000, np.int64),
      )
      for start in range(0, num_entities, 1000)
  )
  try:
    manifest = snapshot.write(
        store,
        'user',
        chunks,
        default_embedding=np.zeros(98),
        fingerprint='model',
        cutoff=1,
        created=1,
    )
    return snapshot.publish(store, 'user', manifest.version).version
  except errors.InputError as error:
    return str(error)


def served(store) -> str:
  """Says which snapshot a new reader sees, and its first number."""
  with lookup.Reader(store, 'user') as reader:
    found = reader.lookup(['000000'])
  return f'{found.version} {found.vectors[0, 0]:g}'


def main(directory: str) -> None:
  """Fills the disk."""
  mount = ['mount', '-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', directory]
  subprocess.run(mount, check=True)
  store = address.open_backend(directory)
  for num_entities in (1000, 20_000, 2000):
    print(write(store, num_entities))
    print(served(store))
  remount = ['mount', '-o', 'remount,ro', directory]
  subprocess.run(remount, check=True)
  print(write(store, 1000))
  print(served(store))


if __name__ == '__main__':
  main(*sys.argv[1:])
