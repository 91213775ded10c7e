r"""Copies the published snapshot of the store into a Feast repo's online store.

    python -m experiments.feast_materialize --store=runs/ml100k/limaml/store \
        --entity_type=user --feast_repo=feature_repo

Run it after each refresh and each rollback. Needs the extra `feast`.
"""

from absl import flags

from experiments import binary
from experiments import progress
from limaml_jax import errors
from limaml_jax.store import address

flags.adopt_module_key_flags(binary)

_STORE = flags.DEFINE_string(
    'store', None, f'Address of the store: {address.EXPECTED}.', required=True
)
_ENTITY_TYPE = flags.DEFINE_string(
    'entity_type', None, 'Whose embeddings, e.g. user.', required=True
)
_FEAST_REPO = flags.DEFINE_string(
    'feast_repo',
    None,
    'Folder that holds feature_store.yaml, of a repo that was applied.',
    required=True,
)
_BATCH_SIZE = flags.DEFINE_integer(
    'batch_size', 1000, 'Rows that Feast is given at once.'
)
_FULL = flags.DEFINE_bool(
    'full',
    False,
    'Writes every row, not only those that change; where the database behind '
    'Feast drops rows by itself.',
)


def main() -> None:
  """Materializes what is published in --store."""
  try:
    from limaml_jax.store.feast_store import materialize
    from limaml_jax.store.feast_store import repo
  except ModuleNotFoundError as error:
    if error.name != 'feast':
      raise
    raise errors.InputError(str(error)) from error
  feature_store = repo.open_repo(_FEAST_REPO.value)
  with progress.bar('materialize') as update:
    done = materialize.materialize(
        address.open_backend(_STORE.value),
        _ENTITY_TYPE.value,
        feature_store,
        batch_size=_BATCH_SIZE.value,
        full=_FULL.value,
        on_progress=update,
    )
  if done.unknown_versions:
    print(
        f'warning: snapshots {", ".join(done.unknown_versions)}, once'
        ' materialized, are in the store no longer; entities of theirs that are'
        ' gone since keep their row in Feast'
    )
  view = repo.view_name(_ENTITY_TYPE.value)
  print(
      f'{_FEAST_REPO.value}: {view} holds snapshot {done.version}:'
      f' {done.num_written:,} rows written,'
      f' {done.num_unchanged:,} unchanged, {done.num_cleared:,} cleared'
  )


if __name__ == '__main__':
  binary.run(main)
