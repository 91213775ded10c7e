r"""Scores candidates for one entity, with its embedding from the store.

    python -m experiments.score --data=runs/ml100k/tasks \
        --workdir=runs/ml100k/limaml --entity=196 --candidates=242,302,50
"""

import pathlib

from absl import flags
import numpy as np
from rich import console as rich_console
from rich import table as rich_table

from experiments import binary
from experiments import pipeline
from limaml_jax import errors
from limaml_jax import types
from limaml_jax.data import dataset
from limaml_jax.data.tasks import items as items_lib
from limaml_jax.store import lookup

flags.adopt_module_key_flags(binary)

_DATA = flags.DEFINE_string(
    'data', None, 'Dataset that `prepare` made.', required=True
)
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Of the training run.', required=True
)
_STORE = flags.DEFINE_string(
    'store', None, 'Directory of the store; WORKDIR/store when left out.'
)
_ENTITY = flags.DEFINE_string(
    'entity', None, 'Key of the entity; an unknown one is no error.',
    required=True,
)
_CANDIDATES = flags.DEFINE_list(
    'candidates', None, 'Keys of items; unknown ones are no error.',
    required=True,
)
_CONTEXT = flags.DEFINE_list(
    'context',
    [],
    'Features of the request, NAME=VALUE; others are out of vocabulary, or at '
    'their mean.',
)


def main() -> None:
  """Prints the candidates, best first."""
  data = pipeline.load(_DATA.value)
  workdir = pathlib.Path(_WORKDIR.value)
  store = pathlib.Path(_STORE.value or workdir / pipeline.STORE_DIR)
  served = pipeline.restore(data, workdir, store=store)
  entity_type = data.info.entity_type
  with lookup.Reader(
      store, entity_type, fingerprint=served.refresher.fingerprint
  ) as reader:
    found = reader.lookup([_ENTITY.value])
  candidates = _CANDIDATES.value
  features = _request_features(data, candidates)
  vectors = np.repeat(found.vectors, len(candidates), axis=0)
  scores = served.scorer.score({entity_type: vectors}, features)
  age = '-' if found.ages[0] < 0 else f'{found.ages[0] / 86400:.1f} days'
  print(
      f'{entity_type} {_ENTITY.value}: '
      f'{lookup.Status(found.statuses[0]).name}, age {age}, '
      f'snapshot {found.version}'
  )
  table = rich_table.Table()
  table.add_column(data.info.item_feature)
  table.add_column('score', justify='right')
  for i in np.argsort(-scores, kind='stable'):
    table.add_row(candidates[i], f'{scores[i]:.4f}')
  rich_console.Console().print(table)


def _request_features(
    data: pipeline.Dataset, candidates: list[str]
) -> types.HostFeatures:
  """Returns raw features of the candidates: the item's, and the context's."""
  keys, of_items = items_lib.load_items(data.directory)
  row_of = {key: row for row, key in enumerate(keys.tolist())}
  rows = np.asarray([row_of.get(key, -1) for key in candidates])
  context = {
      name: value
      for name, _, value in (pair.partition('=') for pair in _CONTEXT.value)
  }
  vocabularies = dataset.load_vocabularies(data.directory)
  features = {}
  for spec in data.info.features:
    if spec.name in of_items and spec.name not in context:
      known = of_items[spec.name][np.maximum(rows, 0)]
      unknown = _encode(spec, None, vocabularies)
      is_known = (rows >= 0).reshape((-1,) + (1,) * (known.ndim - 1))
      features[spec.name] = np.where(is_known, known, unknown)
    else:
      value = _encode(spec, context.pop(spec.name, None), vocabularies)
      features[spec.name] = np.stack([value] * len(candidates))
  if context:
    names = ', '.join(spec.name for spec in data.info.features)
    raise errors.InputError(
        f'--context: unknown feature {", ".join(context)}; there are {names}'
    )
  return features


def _encode(
    spec: types.FeatureSpec,
    value: str | None,
    vocabularies: dict[str, list[str]],
) -> np.ndarray:
  """Encodes one value of a feature; None is out of vocabulary, or the mean."""
  if spec.kind == 'numeric':
    try:
      number = spec.mean if value is None else float(value)
      return np.asarray(number, np.float32)
    except ValueError as error:
      raise errors.InputError(
          f'--context: {spec.name} is {value!r}; it must be a number'
      ) from error
  tokens = vocabularies[spec.name]
  row = tokens.index(value) + 1 if value in tokens else 0
  if spec.kind == 'categorical':
    return np.asarray(row, np.int32)
  return np.asarray([row or -1] + [-1] * (spec.max_values - 1), np.int32)


if __name__ == '__main__':
  binary.run(main)
