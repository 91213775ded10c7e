"""Record: what a snapshot holds of one entity, as bytes.

A record is the entity's watermark (8 bytes, little-endian, signed) and its
meta embedding ([E], little-endian, after its scale if there is one). Its key is
the entity's key in UTF-8.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from limaml_jax import errors
from limaml_jax.store import vector_dtypes

MAX_KEY_BYTES = 511  # LMDB's limit, and so everybody's.
_ROWS_PER_SLICE = 65536


class Chunk(NamedTuple):
  """Part of a snapshot on its way into the store.

  Attributes:
    keys: of N entities.
    vectors: their meta embeddings, [N, E].
    watermarks: time of the latest event that each one's embedding has seen,
      UTC seconds, or -1 if it has seen none, [N].
  """

  keys: Sequence[str]
  vectors: np.ndarray
  watermarks: np.ndarray


def layout(dimension: int, dtype: str) -> np.dtype:
  """Returns the structured type of a record."""
  return np.dtype(
      [('watermark', '<i8'), *vector_dtypes.fields(dtype, dimension)]
  )


def pack(
    chunk: Chunk, *, dimension: int, dtype: str, cutoff: int, finite: bool
) -> Iterator[tuple[list[bytes], np.ndarray]]:
  """Turns a chunk into records in ascending order of their keys.

  A key that comes twice is left to the database, which sees all chunks.

  Args:
    chunk: N entities in any order; may be none.
    dimension: E.
    dtype: that vectors are stored in.
    cutoff: last event time that the embeddings may have seen, UTC seconds.
    finite: refuses a vector that is not.

  Yields:
    Encoded keys and their records, a slice at a time, so that a large chunk
    is never copied whole.

  Raises:
    InputError: on arrays that do not fit each other, an impossible key, a
      vector that is not finite in the record's type, or a watermark after the
      cutoff.
  """
  chunk = Chunk(
      chunk.keys, np.asarray(chunk.vectors), np.asarray(chunk.watermarks)
  )
  _check_shapes(chunk, dimension)
  row = layout(dimension, dtype)
  keys = [_encode(key) for key in chunk.keys]
  order = sorted(range(len(keys)), key=keys.__getitem__)
  keys = [keys[i] for i in order]
  for start in range(0, len(keys), _ROWS_PER_SLICE):
    rows = slice(start, start + _ROWS_PER_SLICE)
    records = np.empty(len(keys[rows]), row)
    vector_dtypes.encode(chunk.vectors[order[rows]], records, dtype)
    records['watermark'] = chunk.watermarks[order[rows]]
    if finite:
      _check_finite(keys[rows], records, dtype)
    _check_watermarks(keys[rows], records['watermark'], cutoff)
    yield keys[rows], records


def _check_shapes(chunk: Chunk, dimension: int) -> None:
  num_keys = len(chunk.keys)
  expected = {
      'vectors': ((num_keys, dimension), 'fiu', 'numbers'),
      'watermarks': ((num_keys,), 'iu', 'integers'),
  }
  for name, (shape, kinds, numbers) in expected.items():
    array = getattr(chunk, name)
    # An empty list has no type of its own.
    if array.shape != shape or (array.size and array.dtype.kind not in kinds):
      raise errors.InputError(
          f'{name}: {array.dtype} {list(array.shape)} for {num_keys} keys of '
          f'dimension {dimension}; pass {numbers} {list(shape)}'
      )


def _check_finite(
    keys: list[bytes], records: np.ndarray, dtype: str
) -> None:
  finite = vector_dtypes.are_finite(records, dtype)
  if not finite.all():
    raise errors.InputError(
        f'entity {keys[np.argmin(finite)].decode()!r}: its vector is not '
        f'finite in {dtype}; mend the model, or store more bits'
    )


def _check_watermarks(
    keys: list[bytes], times: np.ndarray, cutoff: int
) -> None:
  possible = (times >= -1) & (times <= cutoff)
  if not possible.all():
    i = np.argmin(possible)
    raise errors.InputError(
        f'entity {keys[i].decode()!r}: its watermark {times[i]} is not between '
        f'-1 and the cutoff {cutoff}; no embedding may see a later event'
    )


def _encode(key: str) -> bytes:
  try:
    encoded = key.encode()
  except (AttributeError, UnicodeEncodeError) as error:
    raise errors.InputError(
        f'entity {key!r}: not a text that UTF-8 can hold; mend the key'
    ) from error
  if not 0 < len(encoded) <= MAX_KEY_BYTES:
    raise errors.InputError(
        f'entity {key!r}: its key has {len(encoded)} bytes, '
        f'1 to {MAX_KEY_BYTES} are possible; shorten or hash it'
    )
  return encoded


def encode_keys(keys: Sequence[str]) -> list[bytes]:
  """Encodes keys to be looked up, among them some that no snapshot can hold."""
  try:
    encoded = list(map(str.encode, keys))
  except UnicodeEncodeError:
    encoded = [key.encode('utf-8', 'surrogatepass') for key in keys]
  lengths = set(map(len, encoded))
  if keys and not 0 < min(lengths) <= max(lengths) <= MAX_KEY_BYTES:
    # LMDB refuses such a key; one byte that is no UTF-8 is merely absent.
    fits = lambda key: 0 < len(key) <= MAX_KEY_BYTES
    encoded = [key if fits(key) else b'\xff' for key in encoded]
  return encoded


def decode_keys(encoded: Sequence[bytes]) -> np.ndarray:
  """Decodes the keys of a snapshot, [n] str."""
  joined = b''.join(encoded)
  if not joined.isascii():
    return np.array([key.decode() for key in encoded], np.str_)
  # Code points are the bytes, four bytes wide.
  lengths = set(map(len, encoded))
  if len(lengths) == 1:
    letters = np.frombuffer(joined, f'S{lengths.pop()}')
  else:
    letters = np.array(encoded, np.bytes_)
  codes = letters.view(np.uint8).astype(np.uint32)
  return codes.view(f'U{letters.itemsize}')
