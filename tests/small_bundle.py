"""A model of random parameters, exported and served within seconds.

Its features are of every kind and owner, so that a bundle has all of its parts.
"""

import json
import pathlib
from typing import NamedTuple

import jax
import numpy as np

from limaml_jax import cells
from limaml_jax import types
from limaml_jax.data import dataset
from limaml_jax.export import program
from limaml_jax.export import writing
from limaml_jax.training import assembly as assembly_lib
from tests import serving_line
from tests import synthetic
from tests.training import small_run

CITIES = ['Köln', 'Oslo', 'Rome']
COLORS = ['red', 'green', 'blue', 'grey']
NUM_BUCKETS = 7  # Of the hashed feature.
BOUNDARIES = (6.0, 18.0)


class SmallBundle(NamedTuple):
  """A bundle, and all that it was made of.

  Attributes:
    root: its folder.
    store: address of its feature store, published.
    line: the model, its data and its store.
    half: what scores.
  """

  root: pathlib.Path
  store: str
  line: serving_line.ServingLine
  half: program.GlobalHalf

  @property
  def keys(self) -> list[str]:
    """Of the entities."""
    return self.line.table.entity_keys.tolist()

  @property
  def cutoff(self) -> int:
    """Of the published snapshot: after all events."""
    return int(self.line.table.timestamps.max()) + 1


def item_key(item: int) -> str:
  """Returns the key of an item, 1 to NUM_ITEMS by its row."""
  return f'i{item}'


def make_data() -> tuple[dataset.TaskTable, dataset.DatasetInfo]:
  """Returns tasks with features of all kinds and owners."""
  table, info = synthetic.make_tasks(num_entities=30)
  rng = np.random.default_rng(7)
  num_events, num_entities = len(table.timestamps), len(table.entity_keys)
  items = table.event_features['item_id']
  prices = rng.normal(3, 1, synthetic.NUM_ITEMS + 1).astype(np.float32)
  table = table._replace(
      entity_features=table.entity_features
      | {'city': rng.integers(0, 4, num_entities).astype(np.int32)},
      event_features=table.event_features
      | {
          'price': prices[items],
          'hour': rng.integers(1, 4, num_events).astype(np.int32),
          'page': rng.integers(1, NUM_BUCKETS + 1, num_events).astype(np.int32),
      },
  )
  make = types.FeatureSpec
  features = (
      *info.features,
      make('city', 'categorical', 'entity', 'both', 4),
      make('price', 'numeric', 'item', 'global', mean=3.0, transform='log1p'),
      make('hour', 'bucketized', 'context', 'global', 4, boundaries=BOUNDARIES),
      make('page', 'categorical', 'context', 'global', NUM_BUCKETS + 1,
           hash_buckets=NUM_BUCKETS),
  )  # fmt: skip
  info = dataset.DatasetInfo(**vars(info) | {'features': features})
  return table, info


def vocabularies() -> dict[str, list[str]]:
  """Returns the tokens of each feature that has some."""
  return {
      'item_id': [item_key(n) for n in range(1, synthetic.NUM_ITEMS + 1)],
      'colors': COLORS,
      'city': CITIES,
  }


def items(table: dataset.TaskTable) -> writing.Known:
  """Returns all items that events are of."""
  events = table.event_features
  ids, first = np.unique(events['item_id'], return_index=True)
  names = ('item_id', 'colors', 'price')
  return writing.Known(
      np.asarray([item_key(n) for n in ids]),
      {name: events[name][first] for name in names},
  )


def page_of_row() -> dict[int, str]:
  """Returns a token for each row of the hashed feature."""
  found = {}
  for n in range(100):
    found[cells.hashed_row(f'page {n}', NUM_BUCKETS)] = f'page {n}'
  return found


def to_log(
    table: dataset.TaskTable, events: np.ndarray
) -> dict[str, list]:
  """Returns events of a task table, spelled as a log would."""
  entity = np.repeat(np.arange(len(table.entity_keys)), np.diff(table.offsets))
  pages = page_of_row()
  features = {name: v[events] for name, v in table.event_features.items()}
  return {
      'user': table.entity_keys[entity[events]].tolist(),
      'item': [item_key(n) for n in features['item_id']],
      'time': table.timestamps[events].tolist(),
      'liked': table.labels[events].astype(int).tolist(),
      'colors': [
          '|'.join(COLORS[n - 1] for n in cell if n > 0)
          for cell in features['colors']
      ],
      'hour': [[None, 3.0, 6.0, 20.0][n] for n in features['hour']],
      'page': [pages[n] for n in features['page']],
  }


def make(
    directory: str | pathlib.Path, *, seed: int = 0, publish: bool = True
) -> SmallBundle:
  """Exports a model into DIRECTORY/bundle, and publishes into DIRECTORY/store.

  Args:
    directory: that receives both; a second call adds a version of each.
    seed: of the parameters.
    publish: False leaves the store alone.
  """
  directory = pathlib.Path(directory)
  table, info = make_data()
  config = small_run.make_config(inner_loop__learning_rate=3.0)
  assembly = assembly_lib.assemble(config, info)
  params = assembly.model.init(jax.random.key(seed))
  store = directory / 'store'
  line = serving_line.make_line(
      table, info, params, config=config, store=store
  )
  half = program.GlobalHalf(
      params=params.global_block,
      tables=params.tables,
      specs=assembly.model.global_specs,
      layout=assembly.model.layout,
      config=config.model.global_block,
  )
  made = SmallBundle(directory / 'bundle', f'lmdb:{store}', line, half)
  write(made)
  if publish:
    line.refresher.publish(made.cutoff)
  return made


def write(made: SmallBundle) -> None:
  """Writes one more version of a bundle."""
  info, refresher = made.line.info, made.line.refresher
  writing.write(
      made.root,
      made.half,
      writing.Facts(
          entity_type=info.entity_type,
          item_feature=info.item_feature,
          entity_feature=info.entity_feature,
          fingerprint=refresher.fingerprint,
          default_embedding=refresher.default_embedding(),
          max_age_seconds=0,
      ),
      items=items(made.line.table),
      entities=writing.Known(
          made.line.table.entity_keys, made.line.table.entity_features
      ),
      vocabularies=vocabularies(),
  )


def write_settings(
    made: SmallBundle, ports: tuple[int, int, int], **extra
) -> None:
  """Writes the two files that `mlserver start` reads.

  Args:
    made: whose server.
    ports: of REST, gRPC and metrics.
    **extra: settings of the service.
  """
  http, grpc, metrics = ports
  server = 'limaml_jax.serving.open_inference'
  files = {
      'settings.json': {
          'host': '127.0.0.1',
          'http_port': http,
          'grpc_port': grpc,
          'metrics_port': metrics,
          'parallel_workers': 0,
          'debug': False,
          'model_repository_implementation': f'{server}.Repository',
      },
      'model-settings.json': {
          'name': 'limaml',
          'implementation': f'{server}.Runtime',
          'parameters': {'uri': '.', 'extra': {'store': made.store} | extra},
      },
  }
  for name, fields in files.items():
    (made.root / name).write_text(json.dumps(fields))
