"""Checksum of a snapshot's contents, whatever back end stores them."""

from collections.abc import Iterable
import hashlib
import itertools

_RECORDS_PER_UPDATE = 4096


def of_records(items: Iterable[tuple[bytes, bytes]]) -> str:
  """Returns the SHA-256 of keys and records, hexadecimal.

  Every key is preceded by its length (2 bytes, little-endian), so that the
  same bytes cannot be cut into other keys.

  Args:
    items: key and record of each entity, in ascending order of the keys.
  """
  digest = hashlib.sha256()
  items = iter(items)
  while batch := list(itertools.islice(items, _RECORDS_PER_UPDATE)):
    parts = [
        part
        for key, value in batch
        for part in (len(key).to_bytes(2, 'little'), key, value)
    ]
    digest.update(b''.join(parts))
  return digest.hexdigest()
