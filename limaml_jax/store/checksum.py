"""Checksum of a snapshot's contents, whatever back end stores them."""

from collections.abc import Iterable
import hashlib

import numpy as np

# Keys of so many entities, but for the last block, and their records, joined.
ENTITIES_PER_BLOCK = 65536
Block = tuple[list[bytes], bytes]


class Checksum:
  """SHA-256 of keys and records.

  Of one block of entities after another: the lengths of the keys (two bytes
  each, little-endian), the keys, and the records, which all have one length.
  So the same bytes cannot be cut into other keys.
  """

  def __init__(self):
    self._digest = hashlib.sha256()

  def add(self, keys: list[bytes], records: bytes) -> None:
    """Adds a block.

    Args:
      keys: of its entities, ascending.
      records: of all of them, joined.
    """
    lengths = np.fromiter(map(len, keys), '<u2', len(keys))
    self._digest.update(lengths.tobytes())
    self._digest.update(b''.join(keys))
    self._digest.update(records)

  def hexdigest(self) -> str:
    """Returns 64 hexadecimal digits."""
    return self._digest.hexdigest()


def of_blocks(blocks: Iterable[Block]) -> str:
  """Returns the checksum of a snapshot that comes in blocks."""
  checksum = Checksum()
  for keys, records in blocks:
    checksum.add(keys, records)
  return checksum.hexdigest()
