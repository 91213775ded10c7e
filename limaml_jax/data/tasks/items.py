"""Items of a prepared dataset: what online scoring knows of them."""

import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from limaml_jax import errors
from limaml_jax import types
from limaml_jax.data import dataset

_KEY = 'item_key'


def save_items(
    directory: str | pathlib.Path,
    keys: np.ndarray,
    features: types.HostFeatures,
) -> None:
  """Writes item keys and their encoded features into `directory`.

  Args:
    directory: of the dataset.
    keys: [items] str.
    features: leaves [items, ...].
  """
  columns = {_KEY: pa.array(keys.tolist(), pa.string())}
  for name, values in features.items():
    if values.ndim == 2:
      columns[f'feature.{name}'] = pa.FixedSizeListArray.from_arrays(
          pa.array(values.ravel()), values.shape[1]
      )
    else:
      columns[f'feature.{name}'] = pa.array(values)
  path = pathlib.Path(directory) / dataset.ITEMS_FILE
  pq.write_table(pa.table(columns), path)


def load_items(
    directory: str | pathlib.Path,
) -> tuple[np.ndarray, types.HostFeatures]:
  """Returns item keys, [items] str, and features with leaves [items, ...].

  Raises:
    InputError: if the file is missing or torn.
  """
  path = pathlib.Path(directory) / dataset.ITEMS_FILE
  try:
    table = pq.read_table(path).combine_chunks()
  except (OSError, pa.ArrowInvalid) as error:
    raise errors.InputError(
        f'{path}: cannot be read: {str(error).splitlines()[0]}; run `python -m'
        ' experiments.prepare` again'
    ) from error
  features = {}
  for name in table.column_names:
    if name == _KEY:
      continue
    column = table[name].combine_chunks()
    if pa.types.is_fixed_size_list(column.type):
      values = column.flatten().to_numpy(zero_copy_only=False)
      features[name.removeprefix('feature.')] = values.reshape(
          len(column), column.type.list_size
      )
    else:
      features[name.removeprefix('feature.')] = column.to_numpy(
          zero_copy_only=False
      )
  return np.asarray(table[_KEY].to_pylist(), np.str_), features
