"""GLMix: a linear model for all, and one of its own for each entity.

The fixed effects are a logistic regression on one-hot categories and numbers,
fitted on the training events. The random effects of an entity are a constant
and its taste for categories of items and context, refit at each refresh on top
of the fixed logit.
"""

import dataclasses

import numpy as np
from scipy import optimize
from scipy import sparse
from scipy import special

from experiments import pipeline
from experiments.baselines import entity_effects
from experiments.baselines import request as request_lib
from experiments.baselines import served_rows
from experiments.baselines import tabular
from limaml_jax import errors
from limaml_jax import types
from limaml_jax.evaluation import baselines
from limaml_jax.evaluation import replay
from limaml_jax.evaluation import scores as scores_lib

_MAX_DEVIATION = 5.0
_MAX_ITERATIONS = 100


@dataclasses.dataclass(frozen=True)
class Settings:
  """What is tuned.

  Attributes:
    fixed_precision: of the prior around 0 of a fixed weight.
    constant_precision: of the constant of an entity.
    taste_precision: of the other weights of an entity.
    max_events: latest events that an entity learns from.
  """

  fixed_precision: float = 10.0
  constant_precision: float = 2.0
  taste_precision: float = 20.0
  max_events: int = 128


def score(
    request: request_lib.Request, settings: Settings = Settings()
) -> scores_lib.Scores:
  """Fits both effects, and scores the test rows.

  Args:
    request: what to score, and with what.
    settings: of the models.

  Raises:
    InputError: if there is no training event.
  """
  data = request.data
  rows = served_rows.list_rows(data)
  logits = fixed_logits(data, precision=settings.fixed_precision)
  features = taste_features(data)
  precision = np.full(features.shape[1], settings.taste_precision)
  precision[0] = settings.constant_precision
  logits = entity_effects.add(
      data,
      rows,
      logits=logits,
      features=features,
      labels=data.table.labels,
      precision=precision,
      max_events=settings.max_events,
      on_progress=request.on_progress,
  )
  return replay.unserved_scores(data.table, rows, special.expit(logits))


def fixed_logits(data: pipeline.Dataset, *, precision: float) -> np.ndarray:
  """Returns the logit of the fixed effects of each event, [events].

  Args:
    data: prepared dataset.
    precision: of the prior around 0 of each weight but the constant.

  Raises:
    InputError: if there is no training event.
  """
  table, info = data.table, data.info
  specs = [s for s in info.features if s.name != info.entity_feature]
  design = _design(data, specs)
  is_train = baselines.leading_mask(table.offsets, table.num_train)
  if not np.any(is_train):
    raise errors.InputError(
        f'{info.name}: no training events under "{info.protocol}"; change the '
        'protocol'
    )
  weights = _fit(
      sparse.csr_matrix(design[is_train]),
      table.labels[is_train].astype(np.float64),
      table.weights[is_train].astype(np.float64),
      np.where(np.arange(design.shape[1]) == 0, 0.0, precision),
  )
  return design @ weights


def taste_features(data: pipeline.Dataset) -> np.ndarray:
  """Returns a constant and low-dimensional categories, [events, F]."""
  specs = [s for s in data.info.features if tabular.is_crossed(s)]
  return _design(data, specs).toarray().astype(np.float32)


def _design(
    data: pipeline.Dataset, specs: list[types.FeatureSpec]
) -> sparse.csr_matrix:
  """Returns a constant 1, then the features, [events, F]."""
  num_events = data.table.labels.size
  blocks = [sparse.csr_matrix(np.ones((num_events, 1)))]
  for spec in specs:
    values = tabular.feature_of_events(data, spec.name)
    blocks.append(
        _numeric(values, spec)
        if spec.kind == 'numeric'
        else _one_hot(values.reshape(num_events, -1), spec.num_rows)
    )
  return sparse.csr_matrix(sparse.hstack(blocks))


def _numeric(
    values: np.ndarray, spec: types.FeatureSpec
) -> sparse.csr_matrix:
  standardized = np.nan_to_num((values - spec.mean) / spec.std)
  clipped = np.clip(standardized, -_MAX_DEVIATION, _MAX_DEVIATION)
  return sparse.csr_matrix(clipped[:, None].astype(np.float64))


def _one_hot(values: np.ndarray, num_rows: int) -> sparse.csr_matrix:
  """Returns the share of each category among an event's, [events, V]."""
  event, slot = np.nonzero(values >= 0)
  counts = np.bincount(event, minlength=len(values))
  shape = (len(values), num_rows)
  return sparse.csr_matrix(
      (1.0 / counts[event], (event, values[event, slot])), shape=shape
  )


def _fit(
    design: sparse.csr_matrix,
    labels: np.ndarray,
    row_weights: np.ndarray,
    precision: np.ndarray,
) -> np.ndarray:
  """Returns the weights of ridge logistic regression, [F]."""

  def objective(weights):
    logits = design @ weights
    losses = np.logaddexp(0.0, logits) - labels * logits
    residuals = row_weights * (special.expit(logits) - labels)
    penalty = precision * weights
    return (
        row_weights @ losses + 0.5 * weights @ penalty,
        design.T @ residuals + penalty,
    )

  return optimize.minimize(
      objective,
      np.zeros(design.shape[1]),
      jac=True,
      method='L-BFGS-B',
      options={'maxiter': _MAX_ITERATIONS},
  ).x
