r"""Looks after a feature store: list, publish, rollback, prune, verify.

    python -m experiments.store list --store=lmdb:runs/ml100k/store

list      shows every snapshot, and which one is published
publish   publishes --version, once it is verified
rollback  goes back to the one that was published before
prune     deletes all but the newest --keep snapshots that were published, and
          the newest --keep others; never the published one
verify    recomputes the checksums of --version, or of every snapshot
"""

from absl import flags
from rich import console as rich_console
from rich import table as rich_table

from experiments import binary
from experiments import times
from limaml_jax import errors
from limaml_jax.store import address
from limaml_jax.store import snapshot

flags.adopt_module_key_flags(binary)

_STORE = flags.DEFINE_string(
    'store', None, f'Where snapshots are kept: {address.EXPECTED}.',
    required=True,
)
_ENTITY_TYPE = flags.DEFINE_string(
    'entity_type', 'user', 'Whose snapshots.'
)
_VERSION = flags.DEFINE_string(
    'version', None, 'Of a snapshot, e.g. 00000007 or 7.'
)
_KEEP = flags.DEFINE_integer(
    'keep', 7, 'Snapshots of each kind that stay.'
)


def _list() -> None:
  store = address.open_backend(_STORE.value)
  versions = store.versions(_ENTITY_TYPE.value)
  if not versions:
    print(f'{store.address}: no {_ENTITY_TYPE.value} snapshots')
    return
  published = store.published(_ENTITY_TYPE.value)
  current = store.current(_ENTITY_TYPE.value) if published else ''
  table = rich_table.Table(title=f'{_ENTITY_TYPE.value}s in {store.address}')
  for name in ('version', 'state', 'events before', 'entities', 'vector'):
    table.add_column(name)
  table.add_column('model')
  table.add_column('made')
  for version in versions:
    try:
      manifest = store.manifest(_ENTITY_TYPE.value, version)
    except errors.InputError:
      table.add_row(version, 'torn: `prune` deletes it in time')
      continue
    state = 'published' if version in published else 'not published'
    table.add_row(
        version,
        'CURRENT' if version == current else state,
        times.show(manifest.cutoff),
        f'{manifest.count:,}',
        f'{manifest.dimension} x {manifest.dtype}',
        manifest.fingerprint,
        _how(manifest.generator),
    )
  rich_console.Console(width=140).print(table)


def _how(generator: dict) -> str:
  if not generator:
    return ''
  base = f' on {generator["base"]}' if generator.get('base') else ''
  adapted = generator.get('adapted')
  return f'{generator.get("mode")}{base}, {adapted} adapted'


def _publish() -> None:
  store = address.open_backend(_STORE.value)
  manifest = snapshot.publish(store, _ENTITY_TYPE.value, _wanted())
  print(
      f'{store.address}: {_ENTITY_TYPE.value} snapshot {manifest.version}'
      f' published: {manifest.count:,} entities, events before'
      f' {times.show(manifest.cutoff)}'
  )


def _rollback() -> None:
  store = address.open_backend(_STORE.value)
  version = snapshot.rollback(store, _ENTITY_TYPE.value)
  manifest = store.manifest(_ENTITY_TYPE.value, version)
  print(
      f'{store.address}: {_ENTITY_TYPE.value} snapshot {version} is served'
      f' again, events before {times.show(manifest.cutoff)}'
  )


def _prune() -> None:
  store = address.open_backend(_STORE.value)
  deleted = snapshot.prune(store, _ENTITY_TYPE.value, keep=_KEEP.value)
  print(
      f'{store.address}: deleted {len(deleted)} {_ENTITY_TYPE.value} snapshots'
      f'{": " if deleted else ""}{", ".join(deleted)}'
  )


def _verify() -> None:
  store = address.open_backend(_STORE.value)
  if _VERSION.value:
    wanted = [_wanted()]
  else:
    wanted = store.versions(_ENTITY_TYPE.value)
  for version in wanted:
    manifest = snapshot.verify(store, _ENTITY_TYPE.value, version)
    print(f'{version}: {manifest.count:,} entities as they were written')


def _wanted() -> str:
  """Returns --version in full."""
  version = _VERSION.value
  if version is None:
    raise errors.InputError('--version: name a snapshot; see `list`')
  if not version.isdecimal():
    raise errors.InputError(f'--version={version}: a number; see `list`')
  return f'{int(version):08d}'


if __name__ == '__main__':
  binary.run_subject({
      'list': _list,
      'publish': _publish,
      'rollback': _rollback,
      'prune': _prune,
      'verify': _verify,
  })
