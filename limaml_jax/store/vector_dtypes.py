"""Types that vectors are stored in, of two bytes a number or one as of four.

NumPy alone: bfloat16 is the upper half of a float32, rounded to the nearest,
and int8 has one scale for each vector.
"""

import numpy as np

_INT8_STEPS = 127
_SIGN_BIT, _EXPONENT_BITS = 0x8000, 0x7F80
# All set in what is not finite; of the types of two bytes.
_EXPONENTS = {'float16': 0x7C00, 'bfloat16': _EXPONENT_BITS}
_ROWS_PER_BLOCK = 8192  # Stay in the processor's cache.

# Type -> what a record holds of a vector, by field.
_FIELDS = {
    'float32': {'vector': '<f4'},
    'float16': {'vector': '<f2'},
    'bfloat16': {'vector': '<u2'},
    'int8': {'scale': '<f4', 'vector': 'i1'},
}
DTYPES = tuple(_FIELDS)
# Of a float16 whose bits are those of a float32, thirteen places higher.
_FLOAT16_SHIFT, _FLOAT16_BITS = 13, np.int32(-0x70002000)  # 0x8FFFE000.
_FLOAT16_SCALE = np.float32(2.0**112)  # Between what their exponents mean.
_FLOAT16_LIMIT = 2.0**16  # What is not finite seems to be this, or more.


def fields(dtype: str, dimension: int) -> list[tuple]:
  """Returns the fields of a structured type that hold one vector."""
  return [
      (name, kind, (dimension,)) if name == 'vector' else (name, kind)
      for name, kind in _FIELDS[dtype].items()
  ]


def encode(vectors: np.ndarray, records: np.ndarray, dtype: str) -> None:
  """Writes vectors into records.

  A number that the type cannot hold becomes infinite, or nan.

  Args:
    vectors: [N, E].
    records: [N], of `fields`.
    dtype: of DTYPES.
  """
  vectors = np.asarray(vectors, np.float32)
  if dtype == 'bfloat16':
    records['vector'] = _upper_halves(vectors)
  elif dtype == 'int8':
    largest = np.abs(vectors).max(axis=1, initial=0)
    scales = np.where(largest == 0, 1, largest / _INT8_STEPS)
    with np.errstate(invalid='ignore'):
      steps = np.rint(vectors / scales[:, None])
    # The scale of a vector that is not finite says so.
    records['vector'] = np.nan_to_num(steps, posinf=0, neginf=0)
    records['scale'] = scales
  else:
    with np.errstate(over='ignore'):
      records['vector'] = vectors


def decode(records: np.ndarray, dtype: str) -> np.ndarray:
  """Returns the vectors of records, [N, E] float32."""
  vectors = records['vector']
  if dtype == 'float16':
    return _from_float16(vectors)
  if dtype == 'bfloat16':
    return (vectors.astype(np.uint32) << 16).view(np.float32)
  vectors = vectors.astype(np.float32)
  if dtype == 'int8':
    with np.errstate(invalid='ignore'):  # A scale that is not finite.
      vectors *= records['scale'][:, None]
  return vectors


def are_finite(records: np.ndarray, dtype: str) -> np.ndarray:
  """Returns whether all numbers of each vector are finite, [N] bool."""
  finite = np.empty(len(records), bool)
  for start in range(0, len(records), _ROWS_PER_BLOCK):
    block = records[start : start + _ROWS_PER_BLOCK]
    if dtype in _EXPONENTS:
      bits = np.ascontiguousarray(block['vector']).view(np.uint16)
      mask = np.uint16(_EXPONENTS[dtype])
      numbers = (bits & mask) != mask
    else:
      numbers = np.isfinite(decode(block, dtype))
    finite[start : start + len(block)] = numbers.all(axis=1)
  return finite


def _from_float16(vectors: np.ndarray) -> np.ndarray:
  """Returns float16 as float32, faster than NumPy does, [N, E]."""
  bits = vectors.view(np.int16).astype(np.int32)
  bits <<= _FLOAT16_SHIFT
  bits &= _FLOAT16_BITS
  numbers = bits.view(np.float32)
  numbers *= _FLOAT16_SCALE
  if np.abs(numbers).max(initial=0) >= _FLOAT16_LIMIT:
    return vectors.astype(np.float32)
  return numbers


def _upper_halves(vectors: np.ndarray) -> np.ndarray:
  """Returns the bits of the nearest bfloat16, ties to even, [N, E] uint16."""
  bits = np.ascontiguousarray(vectors).view(np.uint32)
  rounded = bits + 0x7FFF + ((bits >> 16) & 1)
  halves = (rounded >> 16).astype(np.uint16)
  # Rounding could carry a nan over into another number.
  nan = (halves & _SIGN_BIT) | _EXPONENT_BITS | 1
  return np.where(np.isnan(vectors), nan, halves).astype(np.uint16)
