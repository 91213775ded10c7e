"""Models of random numbers, exported in a fraction of a second.

Nothing is trained or adapted: parameters, default embeddings and snapshots are
drawn. Features are those of `small_bundle`, of every kind and owner.
"""

import functools
import pathlib
from typing import NamedTuple

import jax
import numpy as np

from limaml_jax import overrides
from limaml_jax.blocks import ensemble
from limaml_jax.bundle import columns as columns_lib
from limaml_jax.export import program
from limaml_jax.export import scorer
from limaml_jax.export import writing
from limaml_jax.store import address
from limaml_jax.store import record
from limaml_jax.store import snapshot
from limaml_jax.training import assembly as assembly_lib
from tests import small_bundle
from tests.training import small_run

DIMENSION = 4
CUTOFF = 1_700_000_000


class Model(NamedTuple):
  """A model; the same seed makes the same one."""

  seed: int
  half: program.GlobalHalf

  @property
  def fingerprint(self) -> str:
    return f'model {self.seed}'

  @property
  def default(self) -> np.ndarray:
    return draw_embeddings(1, self.seed)[0]

  def facts(self, **changes) -> writing.Facts:
    return writing.Facts(
        entity_type='user',
        item_feature='item_id',
        entity_feature='user_id',
        fingerprint=self.fingerprint,
        default_embedding=self.default,
        max_age_seconds=0,
    )._replace(**changes)


@functools.cache
def parts():
  """Returns what all models share: tasks, info, settings."""
  table, info = small_bundle.make_data()
  return table, info, small_run.make_config()


@functools.cache
def make_model(seed: int = 0, ensemble_size: int = 1) -> Model:
  _, info, config = parts()
  config = overrides.override(config, {'model.ensemble_size': ensemble_size})
  assembly = assembly_lib.assemble(config, info)
  init = lambda key: ensemble.divide(assembly.model.init(key), ensemble_size)
  shapes = jax.eval_shape(init, jax.random.key(0))
  rng = np.random.default_rng(seed)
  draw = lambda x: rng.normal(size=x.shape).astype(x.dtype)
  return Model(
      seed,
      program.GlobalHalf(
          params=jax.tree.map(draw, shapes.global_block),
          tables=jax.tree.map(draw, shapes.tables),
          specs=assembly.model.global_specs,
          layout=assembly.model.layout,
          config=config.model.global_block,
          ensemble_size=ensemble_size,
      ),
  )


def draw_embeddings(
    count: int, seed: int, dimension: int = DIMENSION
) -> np.ndarray:
  rng = np.random.default_rng(1000 + seed)
  return rng.normal(size=(count, dimension)).astype(np.float32)


def entity_keys() -> list[str]:
  return parts()[0].entity_keys.tolist()


def write(root: pathlib.Path, model: Model, **changes) -> str:
  """Exports a model; returns the version."""
  table = parts()[0]
  return writing.write(
      root,
      model.half,
      model.facts(**changes),
      items=small_bundle.items(table),
      entities=writing.Known(table.entity_keys, table.entity_features),
      vocabularies=small_bundle.vocabularies(),
  ).version


def publish(store: str, seed: int, *, watermark: int = CUTOFF) -> str:
  """Publishes embeddings of a model for all entities; returns the version."""
  backend = address.open_backend(store)
  keys = entity_keys()
  chunk = record.Chunk(
      keys,
      draw_embeddings(len(keys), seed),
      np.full(len(keys), watermark),
  )
  manifest = snapshot.write(
      backend,
      'user',
      [chunk],
      default_embedding=make_model(seed).default,
      fingerprint=make_model(seed).fingerprint,
      cutoff=CUTOFF,
      created=CUTOFF,
  )
  return snapshot.publish(backend, 'user', manifest.version).version


def draw_features(
    num_rows: int, seed: int = 0
) -> tuple[dict[str, np.ndarray], columns_lib.Packed]:
  """Returns raw features of random rows, by name and packed."""
  columns = columns_lib.Columns(make_model().half.specs)
  rng = np.random.default_rng(seed)
  features, packed = {}, columns.blank(num_rows)
  for name, column in columns.by_name.items():
    spec = column.spec
    width = column.stop - column.start
    if column.is_number:
      values = rng.normal(size=(num_rows, 1)).astype(np.float32)
      values[rng.random(num_rows) < 0.2] = np.nan
      packed.numbers[:, column.start : column.stop] = values
    else:
      least = -1 if spec.kind == 'multi_hot' else 0
      values = rng.integers(least, spec.num_rows, (num_rows, width))
      packed.ids[:, column.start : column.stop] = values
    is_list = spec.kind == 'multi_hot'
    features[name] = values if is_list else values[:, 0]
  return features, packed


def expected_scores(
    model: Model,
    embeddings: np.ndarray,
    entity_of_row: np.ndarray,
    features: dict[str, np.ndarray],
) -> np.ndarray:
  """Scores rows in memory, without a bundle."""
  return scorer.Scorer(model.half).score(
      {'user': embeddings[entity_of_row]}, features
  )
