"""Last layer: the network without identity, its last layer fitted to each.

At each refresh the last layer moves to the entity's own earlier events, held
back by a Gaussian prior around what training left. The logit is linear in that
layer, so the optimum is found, whatever a number of gradient steps would reach.
"""

import dataclasses

import numpy as np
from scipy import special

from experiments import variants
from experiments.baselines import entity_effects
from experiments.baselines import request as request_lib
from experiments.baselines import row_network
from experiments.baselines import served_rows
from limaml_jax.data import dataset
from limaml_jax.evaluation import replay
from limaml_jax.evaluation import scores as scores_lib

VARIANT = variants.GLOBAL


@dataclasses.dataclass(frozen=True)
class Settings:
  """What is tuned.

  Attributes:
    bias_precision: of the prior around the trained bias.
    kernel_precision: of the prior around the trained kernel.
    max_events: latest events that an entity learns from.
  """

  bias_precision: float = 2.0
  kernel_precision: float = 5.0
  max_events: int = 128


def score(
    request: request_lib.Request, settings: Settings = Settings()
) -> scores_lib.Scores:
  """Trains the network unless it is there, fits, and scores the test rows.

  Args:
    request: what to score, and with what.
    settings: of the fits.
  """
  data = request.data
  config = variants.apply(VARIANT, request.config)
  config = variants.with_seed(config, request.seed)
  run_dir = request.workdir / VARIANT / f'seed_{request.seed}'
  state, assembly = row_network.train(
      data, config, run_dir, request.on_progress
  )
  network = row_network.RowNetwork(
      assembly,
      data.info.entity_type,
      ensemble_size=config.model.ensemble_size,
  )
  entity = dataset.event_owners(data.table)
  event = np.arange(entity.size)
  read = state.params, data.table, entity, event
  features = network.last_inputs(*read)
  precision = np.full(features.shape[1], settings.kernel_precision)
  precision[0] = settings.bias_precision
  rows = served_rows.list_rows(data)
  logits = entity_effects.add(
      data,
      rows,
      logits=network.logits(*read),
      features=features,
      labels=data.table.targets,  # As its network does.
      precision=precision,
      max_events=settings.max_events,
      on_progress=request.on_progress,
  )
  return replay.unserved_scores(data.table, rows, special.expit(logits))
