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
from experiments import request
from limaml_jax import errors
from limaml_jax.store import address
from limaml_jax.store import lookup

flags.adopt_module_key_flags(binary)

_DATA = flags.DEFINE_string(
    'data', None, 'Dataset that `prepare` made.', required=True
)
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Of the training run.', required=True
)
_STORE = flags.DEFINE_string(
    'store',
    None,
    f'Where snapshots are kept: {address.EXPECTED}. WORKDIR/store when left '
    'out.',
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
    'Features of the request, NAME=VALUE as in the log; others are out of '
    'vocabulary, or at their mean.',
)


def main() -> None:
  """Prints the candidates, best first."""
  data = pipeline.load(_DATA.value)
  workdir = pathlib.Path(_WORKDIR.value)
  store = _STORE.value or str(workdir / pipeline.STORE_DIR)
  candidates = [key for key in _CANDIDATES.value if key]
  if not candidates:
    raise errors.InputError('--candidates: name at least one item')
  served = pipeline.restore(data, workdir, store=store)
  entity_type = data.info.entity_type
  with lookup.Reader(
      store,
      entity_type,
      fingerprint=served.refresher.fingerprint,
      max_age_seconds=served.config.refresh.max_age_hours * 3600,
  ) as reader:
    found = reader.lookup([_ENTITY.value])
  features = request.features(
      data,
      _ENTITY.value,
      candidates,
      request.parse_context(_CONTEXT.value),
      specs=served.assembly.model.global_specs,
  )
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


if __name__ == '__main__':
  binary.run(main)
