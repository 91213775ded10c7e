"""What a search may try of a variant, and in which order."""

import math

import numpy as np

from experiments import variants
from limaml_jax import config as config_lib
from limaml_jax import overrides

_SPACE = {
    'outer_loop.learning_rate': (1e-3, 2e-3, 4e-3),
    'outer_loop.table_learning_rate': (2e-3, 4e-3, 8e-3),
    'outer_loop.num_epochs': (1, 2, 3),
    'outer_loop.weight_decay': (1e-4, 1e-2, 1e-1),
}
_IDENTITY_SPACE = {'episodes.support_dropout': (0.1, 0.2, 0.4)}
_INNER_SPACE = {
    'inner_loop.num_steps': (1, 2),
    'inner_loop.learning_rate': (2.0, 4.0, 6.0),
    'inner_loop.prior_rows': (4.0, 8.0, 16.0),
}
# Meta blocks that read a history want smaller rates.
_HISTORY_SPACE = {'inner_loop.learning_rate': (0.25, 0.5, 1.0)}


def draw(
    config: config_lib.Config, variant: str, num_trials: int
) -> list[dict[str, object]]:
  """Draws settings at random, the same ones each time, none of them twice.

  Args:
    config: of the variant; its own settings are the first.
    variant: one of `variants.TRAINED`.
    num_trials: settings in all, or fewer if there are no more.
  """
  space = _space(config, variant)
  settings = overrides.flatten(config)
  rng = np.random.default_rng(0)
  trials = [{name: settings[name] for name in space}]
  # All others, whether the first is one of them or not.
  others = math.prod(map(len, space.values())) - 1
  while len(trials) < min(num_trials, 1 + others):
    trial = {
        name: choices[rng.integers(len(choices))]
        for name, choices in space.items()
    }
    if trial not in trials:
      trials.append(trial)
  return trials


def _space(config: config_lib.Config, variant: str) -> dict[str, tuple]:
  space = dict(_SPACE)
  if variant != variants.GLOBAL:
    space |= _IDENTITY_SPACE
  if variant in (variants.FIRST_ORDER, variants.LIMAML):
    space |= _INNER_SPACE
    if config.model.meta_block.reads_history:
      space |= _HISTORY_SPACE
  return space
