"""Recency: how much less an old support row counts than the latest one.

Ages are counted from the latest row of the support, not from the cutoff: what
an entity's support weighs changes only when it has new events, so that a
refresh may carry over everybody else.
"""

from typing import NamedTuple

import numpy as np

from limaml_jax import config as config_lib

_SECONDS_PER_DAY = 86400.0
_MAX_HALVINGS = 100.0  # Of 32 bits: the weight of a real row is above 0.


class HalfLives(NamedTuple):
  """After which age a row counts half; 0 is never.

  Attributes:
    days: that it is older than the latest row.
    events: between it and the latest row, that one included.
  """

  days: float = 0.0
  events: float = 0.0


NEVER = HalfLives()


def half_lives(config: config_lib.EpisodeConfig) -> HalfLives:
  """Returns those that the settings ask for."""
  return HalfLives(
      config.support_half_life_days, config.support_half_life_events
  )


def decay(
    ages: np.ndarray, real: np.ndarray, half_lives: HalfLives
) -> np.ndarray:
  """Returns the factors of the rows' weights, [T, S], 1 for the latest row.

  Args:
    ages: seconds to the latest row of the task, real rows first, [T, S].
    real: which rows are no padding, [T, S] bool; padding has factor 1.
    half_lives: of the rows.

  Returns:
    Above 0, float32.
  """
  halvings = np.zeros(real.shape)
  if half_lives.days:
    halvings += ages / (half_lives.days * _SECONDS_PER_DAY)
  if half_lives.events:
    num_rows = np.sum(real, axis=1, keepdims=True)
    halvings += (num_rows - 1 - np.arange(real.shape[1])) / half_lives.events
  halvings = np.clip(halvings, 0.0, _MAX_HALVINGS)
  return np.where(real, 0.5**halvings, 1.0).astype(np.float32)
