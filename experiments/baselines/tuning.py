"""Tuning: what was tried for each baseline, ten trials at most.

    python -m experiments.prepare --config=experiments/configs/kuairand.py \
        --config.protocol.phase=validation --data_dir=DIR \
        --output=runs/kuairand/validation
    python -m experiments.baseline --search --name=NAME \
        --config=experiments/configs/kuairand.py \
        --data=runs/kuairand/validation --workdir=runs/search

The best there by ROC-AUC is what `Settings` of a module default to, one seed:
trees .7406, glmix .7316, last_layer .7279, daily_ids .7250.
"""

from collections.abc import Callable
from typing import Any

from experiments.baselines import daily_ids
from experiments.baselines import glmix
from experiments.baselines import last_layer
from experiments.baselines import registry
from experiments.baselines import tabular
from experiments.baselines import trees
from limaml_jax import errors
from limaml_jax.evaluation import scores as scores_lib

# By name; each takes `settings`, too.
SEARCHED: dict[str, Callable[..., scores_lib.Scores]] = {
    registry.TREES: trees.score,
    registry.GLMIX: glmix.score,
    registry.LAST_LAYER: last_layer.score,
    registry.DAILY_IDS: daily_ids.score,
}

_TRIALS: dict[str, tuple[Any, ...]] = {
    registry.TREES: tuple(
        trees.Settings(
            num_trees,
            max_leaves=max_leaves,
            min_leaf_rows=min_leaf_rows,
            rates=tabular.RateSettings(strength=strength),
        )
        for num_trees in (100, 200)
        for max_leaves, min_leaf_rows, strength in (
            (31, 100, 5.0),
            (15, 100, 10.0),
            (15, 100, 2.0),
            (15, 300, 5.0),
        )
    ),
    registry.GLMIX: tuple(
        glmix.Settings(fixed, constant, taste)
        for fixed, constant, taste in (
            (2.0, 2.0, 10.0),
            (5.0, 1.0, 5.0),
            (5.0, 1.0, 10.0),
            (5.0, 1.0, 20.0),
            (5.0, 2.0, 5.0),
            (5.0, 2.0, 10.0),
            (5.0, 2.0, 20.0),
            (5.0, 4.0, 10.0),
            (10.0, 2.0, 20.0),
            (20.0, 1.0, 5.0),
        )
    ),
    registry.LAST_LAYER: tuple(
        last_layer.Settings(bias, kernel)
        for bias, kernel in (
            (1.0, 5.0),
            (2.0, 5.0),
            (2.0, 20.0),
            (2.0, 50.0),
            (4.0, 20.0),
        )
    ),
    registry.DAILY_IDS: tuple(
        daily_ids.Settings(rate_factor, num_passes)
        for rate_factor, num_passes in (
            (1.0, 1),
            (1.0, 2),
            (1.0, 4),
            (3.0, 1),
            (3.0, 2),
            (3.0, 3),
            (3.0, 4),
            (10.0, 1),
            (10.0, 2),
        )
    ),
}


def trials(name: str) -> tuple[Any, ...]:
  """Returns the settings to try of a baseline.

  Raises:
    InputError: for one that takes the settings of another.
  """
  if name not in _TRIALS:
    raise errors.InputError(
        f'--name={name}: it takes what is found for {registry.TREES}; search '
        'that'
    )
  return _TRIALS[name]
