"""Task layout: how features lie in the columns of a stored task.

A stored task packs its features into up to four matrices: indices and numbers,
of the entity and of its events (those of the entity that change with time are
there too). Columns follow the order of the
specifications; a matrix without columns is left out. An array per feature
would be four times slower to write and to read. So would a string per key:
keys lie one after another in UTF-8.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from limaml_jax import types


def width(spec: types.FeatureSpec) -> int:
  """Returns how many columns a feature takes."""
  return max(spec.max_values, 1)


def matrices(
    specs: Sequence[types.FeatureSpec],
) -> dict[str, list[types.FeatureSpec]]:
  """Returns the features of each matrix that has any, in column order."""
  groups: dict[str, list[types.FeatureSpec]] = {}
  for spec in specs:
    is_constant = spec.owner == 'entity' and not spec.per_event
    owner = 'entity' if is_constant else 'event'
    values = 'numbers' if spec.kind == 'numeric' else 'indices'
    groups.setdefault(f'{owner}_{values}', []).append(spec)
  return groups


def pack(
    features: types.HostFeatures,
    specs: Sequence[types.FeatureSpec],
) -> np.ndarray:
  """Lays features side by side, [rows, columns]."""
  columns = [features[spec.name] for spec in specs]
  return np.concatenate(
      [c if c.ndim == 2 else c[:, np.newaxis] for c in columns], axis=1
  )


def unpack(
    matrix: np.ndarray, specs: Sequence[types.FeatureSpec]
) -> types.HostFeatures:
  """Takes apart what `pack` laid together."""
  features: types.HostFeatures = {}
  start = 0
  for spec in specs:
    columns = matrix[:, start:start + width(spec)]
    start += width(spec)
    features[spec.name] = np.ascontiguousarray(
        columns if spec.max_values else columns[:, 0]
    )
  return features


def join_texts(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
  """Returns the UTF-8 of some strings, and how many bytes each has.

  Args:
    texts: Arrow strings, perhaps a slice of more.

  Returns:
    Their bytes one after another, [bytes] uint8, and the lengths, [texts].
  """
  _, offsets, data = texts.buffers()
  bounds = np.frombuffer(offsets, np.int32)[texts.offset:][:len(texts) + 1]
  joined = np.frombuffer(data, np.uint8)[bounds[0]:bounds[-1]]
  return joined, np.diff(bounds).astype(np.int64)


def split_texts(joined: np.ndarray, lengths: np.ndarray) -> np.ndarray:
  """Returns the strings that `join_texts` joined, [texts] str.

  Args:
    joined: UTF-8, [bytes] uint8.
    lengths: bytes of each string, [texts].

  Raises:
    ValueError: if they do not fit each other, or are no UTF-8.
  """
  bounds = np.concatenate([[0], np.cumsum(lengths)])
  texts = pa.LargeStringArray.from_buffers(
      len(lengths), pa.py_buffer(bounds), pa.py_buffer(joined)
  )
  return np.asarray(texts.to_pylist(), np.str_)
