r"""Exports a trained model as a bundle, served without its training half.

    python -m experiments.export --data=runs/ml100k/tasks \
        --workdir=runs/ml100k/limaml --bundle=runs/ml100k/bundle
    mlserver start runs/ml100k/bundle

Each export is a version; a server that runs picks it up. Export again after
training, when items or their features have changed, and within six months: a
newer jax need not read an older program.
"""

import json
import pathlib
import re

from absl import flags

from experiments import binary
from experiments import pipeline
from limaml_jax import errors
from limaml_jax.bundle import directory
from limaml_jax.data import dataset
from limaml_jax.data.tasks import items as items_lib
from limaml_jax.export import writing
from limaml_jax.store import address
from limaml_jax.store import durable

flags.adopt_module_key_flags(binary)

_DATA = flags.DEFINE_string(
    'data',
    None,
    'Dataset that `prepare` made: of the encoding that the model was trained '
    'on; its items and entities are those that are known online.',
    required=True,
)
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Of the training run.', required=True
)
_BUNDLE = flags.DEFINE_string(
    'bundle', None, 'Directory that receives the bundle.', required=True
)
_STORE = flags.DEFINE_string(
    'store',
    None,
    f'Where the server finds snapshots: {address.EXPECTED}. WORKDIR/store when '
    'left out. For a new bundle; later it is edited in model-settings.json.',
)
_NAME = flags.DEFINE_string(
    'name', 'limaml', 'That clients call the model by. For a new bundle.'
)
_KEEP = flags.DEFINE_integer(
    'keep',
    3,
    'Versions that stay. Snapshots of an older one are served by it.',
    lower_bound=1,
)
_NAME_PATTERN = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.-]*')
_SERVER = 'limaml_jax.serving.open_inference'
_SECRET_PATTERN = re.compile(r'://[^/]*@|[?&](ssl_)?password=')


def main() -> None:
  """Writes a version, and the settings of a server if there are none."""
  store = _check_store()
  data = pipeline.load(_DATA.value)
  workdir = pathlib.Path(_WORKDIR.value)
  served = pipeline.restore(data, workdir, store=store)
  root = pathlib.Path(_BUNDLE.value)
  item_keys, of_items = items_lib.load_items(data.directory)
  manifest = writing.write(
      root,
      served.half,
      writing.Facts(
          entity_type=data.info.entity_type,
          item_feature=data.info.item_feature,
          entity_feature=data.info.entity_feature,
          fingerprint=served.refresher.fingerprint,
          default_embedding=served.refresher.default_embedding(),
          max_age_seconds=served.config.refresh.max_age_hours * 3600,
      ),
      items=writing.Known(item_keys, of_items),
      entities=writing.Known(
          data.table.entity_keys, pipeline.entity_features(data)
      ),
      vocabularies=dataset.load_vocabularies(data.directory),
  )
  for name, fields in _settings(store).items():
    path = root / name
    if not path.exists():
      with durable.explained(path):
        pipeline.write_text(path, json.dumps(fields, indent=2) + '\n')
  directory.prune(root, _KEEP.value)
  print(
      f'{root}: version {manifest.version}, model {manifest.fingerprint}, '
      f'{manifest.tables.get(directory.ITEMS, 0)} items; serve it with '
      f'`mlserver start {root}`'
  )


def _check_store() -> str:
  """Returns the address that the server will use."""
  store = _STORE.value
  if store is None:
    store = str(pathlib.Path(_WORKDIR.value) / pipeline.STORE_DIR)
  if not _NAME_PATTERN.fullmatch(_NAME.value):
    raise errors.InputError(
        f'--name={_NAME.value}: use letters, digits, "_", "-" and "."'
    )
  if _SECRET_PATTERN.search(store):
    raise errors.InputError(
        '--store: holds a password, which would lie in model-settings.json;'
        ' leave it out, and set LIMAML_REDIS_PASSWORD for the server'
    )
  address.open_backend(store)
  if '://' in store:
    return store
  path = store.removeprefix('lmdb:')
  return f'lmdb:{pathlib.Path(path).absolute()}'


def _settings(store: str) -> dict[str, dict]:
  """Returns the settings of a new bundle, by file."""
  return {
      'settings.json': {
          'host': '127.0.0.1',
          'http_port': 8080,
          'grpc_port': 8081,
          'metrics_port': 8082,
          'parallel_workers': 0,
          'debug': False,
          'model_repository_implementation': f'{_SERVER}.Repository',
          'model_repository_implementation_args': {'max_body_bytes': 4 << 20},
      },
      'model-settings.json': {
          'name': _NAME.value,
          'implementation': f'{_SERVER}.Runtime',
          'platform': 'limaml',
          'parameters': {'uri': '.', 'extra': {'store': store}},
      },
  }


if __name__ == '__main__':
  binary.run(main)
