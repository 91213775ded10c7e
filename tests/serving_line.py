"""Everything behind a trained model: refresh, store, lookup and scorer."""

import functools
import pathlib
from typing import NamedTuple

import numpy as np

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.blocks import ensemble
from limaml_jax.data import dataset
from limaml_jax.evaluation import replay
from limaml_jax.evaluation import scores
from limaml_jax.export import program
from limaml_jax.export import scorer as scorer_lib
from limaml_jax.refresh import refresher as refresher_lib
from limaml_jax.store import address
from limaml_jax.store import lookup
from limaml_jax.training import assembly as assembly_lib

# One network for all tests of some settings, so that it is compiled once.
_assemble = functools.cache(assembly_lib.assemble)
_PROGRAMS = {}


class ServingLine(NamedTuple):
  """One model and its store."""

  table: dataset.TaskTable
  info: dataset.DatasetInfo
  assembly: assembly_lib.Assembly
  refresher: refresher_lib.Refresher
  scorer: scorer_lib.Scorer
  store: pathlib.Path

  def look_up(self, keys: list[str], now: int) -> lookup.Lookup:
    fingerprint = self.refresher.fingerprint
    with lookup.Reader(
        self.store, self.info.entity_type, fingerprint=fingerprint
    ) as reader:
      return reader.lookup(keys, now=now)

  def score(self, vectors: np.ndarray, features: types.Features) -> np.ndarray:
    return self.scorer.score({self.info.entity_type: vectors}, features)

  def replay(self, entities: np.ndarray | None = None) -> scores.Scores:
    def look_up(keys, now):
      found = self.look_up(keys, now)
      return found.vectors, found.statuses, found.ages

    return replay.replay(
        self.table,
        self.info,
        names=self.assembly.names.regular,
        refresh=lambda cutoffs: self.refresher.publish(cutoffs, entities),
        lookup=look_up,
        score=self.score,
        entities=entities,
    )


def make_line(
    table: dataset.TaskTable,
    info: dataset.DatasetInfo,
    params: types.BlockParams,
    *,
    config: config_lib.Config,
    store: str | pathlib.Path,
    adapt: bool = True,
    dtype: str = 'float32',
) -> ServingLine:
  assembly = _assemble(config, info)
  params = ensemble.divide(params, config.model.ensemble_size)
  refresher = refresher_lib.Refresher(
      table,
      info,
      params,
      model=assembly.model,
      loss_fn=assembly.loss_fn,
      names=assembly.names,
      config=config,
      store=address.open_backend(store),
      adapt=adapt,
      dtype=dtype,
  )
  scorer = scorer_lib.Scorer(
      program.GlobalHalf(
          params=params.global_block,
          tables=params.tables,
          specs=assembly.model.global_specs,
          layout=assembly.model.layout,
          config=config.model.global_block,
          ensemble_size=config.model.ensemble_size,
      )
  )
  _share_programs(assembly, refresher, scorer, (config, adapt))
  return ServingLine(
      table, info, assembly, refresher, scorer, pathlib.Path(store)
  )


def _share_programs(assembly, refresher, scorer, settings):
  """Lets lines of one network use what the first of them compiled.

  Parameters are arguments of the programs, so any will do.
  """
  programs = (refresher._embed_chunk, scorer._score)
  key = (id(assembly), settings)
  shared = _PROGRAMS.setdefault(key, programs)
  refresher._embed_chunk, scorer._score = shared
