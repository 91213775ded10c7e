"""Calibration: makes a probability of what ranks well but is too sure.

Scale and shift of the logit (Platt 1999), fitted to scores of events that did
not train the model. Ranks, and all that is stored, stay as they are.
"""

import json
import pathlib
from typing import Any
from typing import NamedTuple

import jax
import numpy as np

from limaml_jax import errors

FILE = 'calibration.json'
_MAX_STEPS = 500
_TOLERANCE = 1e-9
_LEAST = 1e-7  # Scores are as far as this from 0 and 1.


class Calibration(NamedTuple):
  """Turns a logit x into scale * x + shift; both [] float32."""

  scale: jax.typing.ArrayLike = np.float32(1)
  shift: jax.typing.ArrayLike = np.float32(0)


def logits(scores: np.ndarray) -> np.ndarray:
  """Returns the logits of probabilities, [n] float64."""
  clipped = np.clip(np.asarray(scores, np.float64), _LEAST, 1 - _LEAST)
  return np.log(clipped) - np.log1p(-clipped)


def fit(scores: np.ndarray, labels: np.ndarray) -> Calibration:
  """Fits scale and shift by Newton's method.

  Labels are smoothed as Platt has it, so that there is one minimum even where
  a score tells every label.

  Args:
    scores: probabilities of label 1, [n].
    labels: 0 or 1, [n].

  Raises:
    InputError: if there is one label alone, one score alone, or the scores
      rank no better than chance.
  """
  positive = np.asarray(labels) > 0
  num_positive, num_negative = int(positive.sum()), int((~positive).sum())
  inputs = np.stack([logits(scores), np.ones(positive.size)])
  if not num_positive or not num_negative or not np.ptp(inputs[0]):
    raise errors.InputError(
        'calibration needs rows of both labels, and more than one score; '
        'choose a longer window'
    )
  targets = np.where(
      positive, (num_positive + 1) / (num_positive + 2), 1 / (num_negative + 2)
  )
  weights = np.array([1.0, 0.0])
  for _ in range(_MAX_STEPS):
    probability = 1 / (1 + np.exp(-weights @ inputs))
    slope = probability * (1 - probability)
    gradient = inputs @ (probability - targets)
    step = np.linalg.solve((inputs * slope) @ inputs.T, gradient)
    # From afar a whole step may overshoot, where the curve is flat.
    weights -= step / max(1.0, float(np.abs(step).max()))
    if np.abs(step).max() < _TOLERANCE:
      break
  else:
    raise errors.InputError(
        'calibration: no scale and shift fit; the scores are almost all alike'
    )
  if weights[0] <= 0:
    raise errors.InputError(
        'calibration: the scores rank no better than chance on these rows; '
        'nothing is to be calibrated'
    )
  return Calibration(*weights.astype(np.float32))


def apply(calibration: Calibration, scores: np.ndarray) -> np.ndarray:
  """Returns calibrated probabilities, [n] float64."""
  scale, shift = (np.asarray(x, np.float64) for x in calibration)
  calibrated = scale * logits(scores) + shift
  return 1 / (1 + np.exp(-calibrated))


def write(
    workdir: pathlib.Path, calibration: Calibration, **facts: Any
) -> None:
  """Writes a run's calibration, whole or not at all; replaces an earlier one.

  Args:
    workdir: of the run.
    calibration: that it is to be served with.
    **facts: for people, e.g. what it was fitted to.
  """
  content = {
      name: float(np.asarray(x)) for name, x in calibration._asdict().items()
  }
  path = workdir / FILE
  temporary = path.with_suffix('.tmp')
  temporary.write_text(json.dumps(content | facts, indent=2))
  temporary.replace(path)


def remove(workdir: pathlib.Path) -> None:
  """Takes a run's calibration away, if it has one."""
  (workdir / FILE).unlink(missing_ok=True)


def read(workdir: pathlib.Path) -> Calibration:
  """Returns a run's calibration; one that was never written changes nothing.

  Raises:
    InputError: for a file that is torn.
  """
  path = workdir / FILE
  if not path.exists():
    return Calibration()
  try:
    content = json.loads(path.read_text())
    scale, shift = (np.float32(content[n]) for n in Calibration._fields)
  except (ValueError, KeyError, TypeError) as error:
    raise errors.InputError(
        f'{path}: torn ({error!r}); remove it, or run `python -m'
        ' experiments.calibrate` again'
    ) from error
  return Calibration(scale, shift)
