r"""Scores candidates for one entity, as the server of a bundle does.

    python -m experiments.score --bundle=runs/ml100k/bundle --entity=196 \
        --candidates=242,302,50

Reads the store that the bundle's model-settings.json names. Nothing needs to be
running.
"""

from collections.abc import Sequence
import pathlib

from absl import flags
import numpy as np
from rich import console as rich_console
from rich import table as rich_table

from experiments import binary
from experiments import bundle_input
from experiments import scoring
from limaml_jax import errors
from limaml_jax.serving import service as service_lib
from limaml_jax.store import address
from limaml_jax.store import lookup

flags.adopt_module_key_flags(binary)

_BUNDLE = flags.DEFINE_string(
    'bundle', None, 'Directory that `export` made.', required=True
)
_STORE = flags.DEFINE_string(
    'store',
    None,
    f'Where snapshots are kept: {address.EXPECTED}. The one of the bundle when '
    'left out.',
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
    'Features of the request, NAME=VALUE as in the log; a feature of several '
    'values is named once for each. An empty value, or none, is unknown. What '
    'is given wins over what the bundle knows.',
)


def main() -> None:
  """Prints the candidates, best first."""
  candidates = [key for key in _CANDIDATES.value if key]
  if not candidates:
    raise errors.InputError('--candidates: name at least one item')
  pairs = scoring.parse_context(_CONTEXT.value)
  root = pathlib.Path(_BUNDLE.value)
  service = bundle_input.open_service(
      root,
      bundle_input.read_settings(root, _STORE.value),
      max_rows=len(candidates),
  )
  try:
    scored = scoring.score(service, _ENTITY.value, candidates, pairs)
  finally:
    service.close()
  _show(scored, candidates, service)


def _show(
    scored: service_lib.Scored,
    candidates: Sequence[str],
    service: service_lib.Service,
) -> None:
  manifest = service.versions.current.bundle.manifest
  age = '-' if scored.ages[0] < 0 else f'{scored.ages[0] / 86400:.1f} days'
  print(
      f'{manifest.entity_type} {_ENTITY.value}: '
      f'{lookup.Status(scored.statuses[0]).name}, age {age}, '
      f'snapshot {scored.snapshot or "-"}'
  )
  table = rich_table.Table()
  table.add_column(manifest.item_feature)
  table.add_column('score', justify='right')
  for i in np.argsort(-scored.scores, kind='stable'):
    table.add_row(candidates[i], f'{scored.scores[i]:.4f}')
  rich_console.Console().print(table)


if __name__ == '__main__':
  binary.run(main)
