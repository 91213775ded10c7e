"""Gradient-boosted trees on all features and on past rates made by hand."""

import dataclasses
from typing import Any

import numpy as np

from experiments.baselines import request as request_lib
from experiments.baselines import served_rows
from experiments.baselines import tabular
from limaml_jax import errors
from limaml_jax.evaluation import baselines
from limaml_jax.evaluation import replay
from limaml_jax.evaluation import scores as scores_lib


@dataclasses.dataclass(frozen=True)
class Settings:
  """What is tuned.

  Attributes:
    num_trees: boosting rounds.
    learning_rate: shrinkage of each.
    max_leaves: of one tree.
    min_leaf_rows: training events in a leaf.
    l2: penalty of a leaf's value.
    rates: made by hand.
  """

  num_trees: int = 200
  learning_rate: float = 0.05
  max_leaves: int = 15
  min_leaf_rows: int = 100
  l2: float = 1.0
  rates: tabular.RateSettings = tabular.RateSettings()


def score(
    request: request_lib.Request, settings: Settings = Settings()
) -> scores_lib.Scores:
  """Boosts trees on the training events, and scores the test rows.

  Args:
    request: what to score, and with what.
    settings: of the trees.

  Raises:
    InputError: if scikit-learn is missing, or nothing can be learned.
  """
  data, on_progress = request.data, request.on_progress
  columns = tabular.make(data, settings.rates)
  on_progress(1, 3)
  table = data.table
  is_train = baselines.leading_mask(table.offsets, table.num_train)
  model = _new_model(settings, columns.is_categorical, request.seed)
  labels = table.labels[is_train]
  if np.unique(labels).size < 2:
    raise errors.InputError(
        f'{data.info.name}: trees need training events of both labels; '
        'change the protocol'
    )
  model.fit(
      columns.values[is_train], labels, sample_weight=table.weights[is_train]
  )
  on_progress(2, 3)
  rows = served_rows.list_rows(data)
  probability = model.predict_proba(columns.values[rows.event])[:, 1]
  on_progress(3, 3)
  return replay.unserved_scores(data.table, rows, probability)


def _new_model(
    settings: Settings, is_categorical: np.ndarray, seed: int
) -> Any:
  try:
    from sklearn import ensemble
  except ImportError as error:
    raise errors.InputError(
        'scikit-learn is not installed, which the baseline of trees needs; '
        'install the extra "studies": pip install "limaml-jax[studies]"'
    ) from error
  return ensemble.HistGradientBoostingClassifier(
      max_iter=settings.num_trees,
      learning_rate=settings.learning_rate,
      max_leaf_nodes=settings.max_leaves,
      min_samples_leaf=settings.min_leaf_rows,
      l2_regularization=settings.l2,
      categorical_features=is_categorical,
      early_stopping=False,
      random_state=seed,
  )
