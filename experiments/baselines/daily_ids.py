"""Daily IDs: an embedding per entity ID, trained further at each refresh.

The wide-and-deep network is trained to the first cutoff. At each refresh it
goes on with the events since the one before, and whoever is new gets a row of
the table: so it has seen what a daily refresh of meta embeddings has seen.
Where the protocol refreshes once, it is the network as trained.
"""

import dataclasses

import numpy as np
from scipy import special

from experiments import pipeline
from experiments import variants
from experiments.baselines import request as request_lib
from experiments.baselines import row_network
from experiments.baselines import served_rows
from limaml_jax import config as config_lib
from limaml_jax import overrides
from limaml_jax.data import episodes
from limaml_jax.data import reader as reader_lib
from limaml_jax.evaluation import replay
from limaml_jax.evaluation import scores as scores_lib
from limaml_jax.training import assembly as assembly_lib
from limaml_jax.training import loop
from limaml_jax.training import mesh as mesh_lib
from limaml_jax.training import state as state_lib

VARIANT = variants.WIDE_DEEP_ID
_NAME = 'daily_ids'


@dataclasses.dataclass(frozen=True)
class Settings:
  """What is tuned, beside what the variant has.

  Attributes:
    rate_factor: of daily learning rates to those that training ended with.
    num_passes: over the events of a day.
  """

  rate_factor: float = 3.0
  num_passes: int = 2


def score(
    request: request_lib.Request, settings: Settings = Settings()
) -> scores_lib.Scores:
  """Trains to the cutoff unless that is done, then day by day, and scores.

  Args:
    request: what to score, and with what.
    settings: of the daily training.
  """
  data = request.data
  config = variants.apply(VARIANT, request.config)
  config = variants.with_seed(config, request.seed)
  rows = served_rows.list_rows(data)
  cutoffs = data.info.cutoffs or (0,)
  data = with_row_for_each_entity(data)
  run_dir = request.workdir / _NAME / f'seed_{request.seed}'
  state, assembly = row_network.train(
      data, config, run_dir, request.on_progress
  )
  update = _make_update(config, assembly, state, settings)
  network = row_network.RowNetwork(
      assembly,
      data.info.entity_type,
      ensemble_size=config.model.ensemble_size,
  )
  parts = []
  for day, cutoff in enumerate(cutoffs):
    if day:
      data = known_before(data, cutoff)
      state = _go_on(
          data, state, since=cutoffs[day - 1], update=update,
          assembly=assembly, config=_of_day(config, settings, day),
      )  # fmt: skip
    today = replay.TestRows(*(column[rows.day == day] for column in rows))
    logits = network.logits(
        state.params, data.table, today.entity, today.event
    )
    probability = special.expit(logits)
    parts.append(replay.unserved_scores(data.table, today, probability))
    request.on_progress(day + 1, len(cutoffs))
  return scores_lib.concatenate(parts)


def with_row_for_each_entity(data: pipeline.Dataset) -> pipeline.Dataset:
  """Gives the entity's ID as many rows as there are entities, and one more."""
  info = data.info
  features = tuple(
      dataclasses.replace(spec, num_rows=info.num_entities + 1)
      if spec.name == info.entity_feature
      else spec
      for spec in info.features
  )
  info = dataclasses.replace(info, features=features)
  return _with_ids(data._replace(info=info), data.table.num_train > 0)


def known_before(data: pipeline.Dataset, cutoff: int) -> pipeline.Dataset:
  """Returns the dataset in which everything before a refresh may train."""
  table = data.table
  seen = episodes.support_sizes(
      table, np.arange(len(table.entity_keys)), cutoff
  )
  table = table._replace(num_train=seen, num_history=seen)
  return _with_ids(data._replace(table=table), seen > 0)


def _with_ids(data: pipeline.Dataset, known: np.ndarray) -> pipeline.Dataset:
  """Names who is known by a row of its own, and all others by row 0."""
  table, name = data.table, data.info.entity_feature
  ids = np.where(known, np.arange(known.size) + 1, 0).astype(np.int32)
  features = table.entity_features | {name: ids}
  return data._replace(table=table._replace(entity_features=features))


def _of_day(
    config: config_lib.Config, settings: Settings, day: int
) -> config_lib.Config:
  """Returns the settings of a day: all of its events train."""
  return overrides.override(
      config,
      {
          'outer_loop.num_epochs': settings.num_passes,
          'outer_loop.holdout_fraction': 0.0,
          # As training ended.
          'episodes.support_dropout': reader_lib.dropout_probability(
              config.episodes, 1.0
          ),
          'episodes.support_dropout_end': -1.0,
          'training.seed': config.training.seed + day,
      },
  )


def _make_update(
    config: config_lib.Config,
    assembly: assembly_lib.Assembly,
    state: state_lib.TrainState,
    settings: Settings,
) -> state_lib.MetaUpdate:
  """Returns the outer update, its schedule where training left it."""
  outer, factor = config.outer_loop, settings.rate_factor
  config = overrides.override(
      config,
      {
          'outer_loop.learning_rate': outer.learning_rate * factor,
          'outer_loop.table_learning_rate': outer.table_learning_rate * factor,
      },
  )
  return loop.prepare_update(config, assembly, int(state.step))[-1]


def _go_on(
    data: pipeline.Dataset,
    state: state_lib.TrainState,
    *,
    since: int,
    update: state_lib.MetaUpdate,
    assembly: assembly_lib.Assembly,
    config: config_lib.Config,
) -> state_lib.TrainState:
  """Trains on the events since a refresh that the dataset lets train."""
  steps, _ = reader_lib.make_reader(
      data.table, data.info, names=assembly.names, config=config, since=since
  )
  for meta_batch in steps:
    on_devices = mesh_lib.put_by_task(meta_batch.episodes, assembly.mesh)
    state, _ = update(state, on_devices)
  return state
