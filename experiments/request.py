"""Raw features of a request: candidates of one entity in one context."""

from collections.abc import Mapping
from collections.abc import Sequence
import math

import numpy as np

from experiments import pipeline
from limaml_jax import cells
from limaml_jax import errors
from limaml_jax import types
from limaml_jax.data import dataset
from limaml_jax.data import episodes
from limaml_jax.data.tasks import items as items_lib


def parse_context(pairs: Sequence[str]) -> dict[str, str]:
  """Reads NAME=VALUE pairs.

  Raises:
    InputError: for a pair without '='.
  """
  for pair in pairs:
    if '=' not in pair:
      raise errors.InputError(f'--context={pair}: write NAME=VALUE')
  split = (pair.partition('=') for pair in pairs)
  return {name: value for name, _, value in split}


def features(
    data: pipeline.Dataset,
    entity: str,
    candidates: Sequence[str],
    context: Mapping[str, str],
    *,
    specs: Sequence[types.FeatureSpec],
) -> types.HostFeatures:
  """Returns raw features, leaves [C, ...]; what is not known is unknown.

  Args:
    data: prepared dataset, which knows the items and the entities.
    entity: key; its features are those of the dataset.
    candidates: keys of items.
    context: values by feature, as the log spells them; they win.
    specs: of the features that the scorer reads.

  Raises:
    InputError: for a context that names another feature, or no number.
  """
  strange = context.keys() - {spec.name for spec in specs}
  if strange:
    names = ', '.join(spec.name for spec in specs)
    raise errors.InputError(
        f'--context: unknown feature {", ".join(sorted(strange))}; there are '
        f'{names}'
    )
  item_keys, of_items = items_lib.load_items(data.directory)
  item_rows = _find(item_keys, candidates)
  entity_rows = _find(data.table.entity_keys, [entity] * len(candidates))
  vocabularies = dataset.load_vocabularies(data.directory)
  result = {}
  for spec in specs:
    if spec.name in context:
      value = _encode(spec, context[spec.name], vocabularies)
      result[spec.name] = np.stack([value] * len(candidates))
    elif spec.name in of_items:
      result[spec.name] = _take(of_items[spec.name], item_rows)
    elif spec.name in data.table.entity_features:
      column = data.table.entity_features[spec.name]
      result[spec.name] = _take(column, entity_rows)
    else:
      column = data.table.event_features[spec.name]
      # Of an entity's own, the latest value that is known.
      known = (entity_rows >= 0) & (spec.owner == 'entity')
      latest = data.table.offsets[entity_rows + 1] - 1
      result[spec.name] = _take(column, np.where(known, latest, -1))
  return result


def _find(keys: np.ndarray, wanted: Sequence[str]) -> np.ndarray:
  """Returns the row of each key, -1 for an unknown one."""
  row_of = {key: row for row, key in enumerate(keys.tolist())}
  return np.asarray([row_of.get(key, -1) for key in wanted])


def _take(column: np.ndarray, rows: np.ndarray) -> np.ndarray:
  """Returns rows of a column; row -1 is unknown."""
  values = np.repeat(
      np.full_like(column[:1], episodes.unknown(column)), rows.size, axis=0
  )
  values[rows >= 0] = column[rows[rows >= 0]]
  return values


def _encode(
    spec: types.FeatureSpec,
    text: str,
    vocabularies: Mapping[str, Sequence[str]],
) -> np.ndarray:
  """Encodes a value as `prepare` would."""
  if spec.kind == 'numeric':
    return np.asarray(_parse_number(spec, text), np.float32)
  if spec.kind == 'bucketized':
    number = _parse_number(spec, text) if text else np.nan
    return cells.bucket_rows(np.asarray(number), spec.boundaries)
  if spec.hash_buckets:
    row = cells.hashed_row(text, spec.hash_buckets)
  else:
    tokens = vocabularies[spec.name]
    row = tokens.index(text) + 1 if text in tokens else 0
  if spec.kind == 'categorical':
    return np.asarray(row, np.int32)
  return np.asarray([row or -1] + [-1] * (spec.max_values - 1), np.int32)


def _parse_number(spec: types.FeatureSpec, text: str) -> float:
  try:
    number = float(text)
    if spec.transform == 'log1p':
      number = math.log1p(number)
    if math.isfinite(number):
      return number
  except ValueError:
    pass
  limit = ' above -1' if spec.transform == 'log1p' else ''
  raise errors.InputError(
      f'--context: {spec.name} is {text!r}; it must be a finite number{limit}'
  )
