"""Random bundle: models of random parameters, exported and stored."""

import json
import pathlib
import time

import jax
import numpy as np

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.blocks import model as model_lib
from limaml_jax.export import program
from limaml_jax.export import writing
from limaml_jax.store import backend as backend_lib
from limaml_jax.store import manifest as manifest_lib
from limaml_jax.store import snapshot

ENTITY_TYPE = 'user'
_NUM_AUTHORS, _NUM_TAGS, _NUM_HOURS = 5000, 60, 25


def entity_keys(number: int) -> list[str]:
  """Returns keys of entities."""
  return [f'user-{n:08d}' for n in range(number)]


def item_keys(number: int) -> list[str]:
  """Returns keys of items."""
  return [f'item-{n:08d}' for n in range(number)]


def fingerprint(seed: int) -> str:
  """Names a model by the seed of its parameters."""
  return f'random-{seed}'


def write_bundle(
    root: pathlib.Path, *, num_items: int, seed: int = 0
) -> None:
  """Writes a version of a bundle, whose model is that of the seed."""
  half = _make_half(num_items, seed)
  rng = np.random.default_rng(seed)
  integers = lambda stop, *shape: rng.integers(1, stop, shape, np.int32)
  items = writing.Known(
      np.asarray(item_keys(num_items)),
      {
          'item_id': np.arange(1, num_items + 1, dtype=np.int32),
          'author': integers(_NUM_AUTHORS, num_items),
          'tags': integers(_NUM_TAGS, num_items, 3),
          'duration': rng.normal(size=num_items).astype(np.float32),
      },
  )
  facts = writing.Facts(
      entity_type=ENTITY_TYPE,
      item_feature='item_id',
      entity_feature='user_id',
      fingerprint=fingerprint(seed),
      default_embedding=np.zeros(dimension(), np.float32),
      max_age_seconds=0,
  )
  writing.write(
      root,
      half,
      facts,
      items=items,
      entities=writing.Known(np.zeros(0, np.str_), {}),
      vocabularies={
          'item_id': items.keys.tolist(),
          'author': [f'a{n}' for n in range(1, _NUM_AUTHORS)],
          'tags': [f't{n}' for n in range(1, _NUM_TAGS)],
          'hour': [str(n) for n in range(1, _NUM_HOURS)],
      },
  )


def write_settings(root: pathlib.Path, store: str) -> None:
  """Writes the model-settings.json of a bundle."""
  fields = {
      'name': 'limaml',
      'implementation': 'limaml_jax.serving.open_inference.Runtime',
      'parameters': {'uri': '.', 'extra': {'store': store}},
  }
  (root / 'model-settings.json').write_text(json.dumps(fields))


def write_snapshot(
    store: backend_lib.Backend,
    vectors: np.ndarray,
    *,
    seed: int = 0,
    dtype: str = 'float16',
) -> manifest_lib.Manifest:
  """Writes a snapshot of the model of a seed; it is not published yet.

  Args:
    store: that receives it.
    vectors: of as many entities as there are, [entities, E].
    seed: of the model.
    dtype: that vectors are stored in.
  """
  now = int(time.time())
  return snapshot.write_arrays(
      store,
      ENTITY_TYPE,
      keys=entity_keys(len(vectors)),
      vectors=vectors,
      watermarks=np.full(len(vectors), now),
      default_embedding=np.zeros(vectors.shape[1]),
      fingerprint=fingerprint(seed),
      cutoff=now,
      created=now,
      dtype=dtype,
  )


def dimension() -> int:
  """Returns E."""
  return config_lib.Config().model.meta_block.embedding_size


def _make_half(num_items: int, seed: int) -> program.GlobalHalf:
  config = config_lib.Config()
  make = types.FeatureSpec
  specs = (
      make('user_id', 'categorical', 'entity', 'meta', 1000),
      make('age', 'numeric', 'entity', 'meta'),
      make('item_id', 'categorical', 'item', 'global', num_items + 1),
      make('author', 'categorical', 'item', 'global', _NUM_AUTHORS),
      make('tags', 'multi_hot', 'item', 'global', _NUM_TAGS, 3),
      make('duration', 'numeric', 'item', 'global'),
      make('hour', 'categorical', 'context', 'global', _NUM_HOURS),
  )
  model = model_lib.make_model(
      config, specs=specs, entity_type=ENTITY_TYPE, entity_feature='user_id'
  )
  params = model.init(jax.random.key(seed))
  return program.GlobalHalf(
      params=params.global_block,
      tables=params.tables,
      specs=model.global_specs,
      layout=model.layout,
      config=config.model.global_block,
  )
