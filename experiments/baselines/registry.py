"""Registry: the baselines by name."""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import functools
from typing import Any

from experiments.baselines import daily_ids
from experiments.baselines import glmix
from experiments.baselines import last_layer
from experiments.baselines import request as request_lib
from experiments.baselines import tabular
from experiments.baselines import trees
from limaml_jax.evaluation import scores as scores_lib

TREES = 'trees'
# Without rates of the entity.
TREES_ITEM_RATES = 'trees_item_rates'
# Rates no fresher than a daily refresh.
TREES_AT_REFRESH = 'trees_at_refresh'
GLMIX = 'glmix'
LAST_LAYER = 'last_layer'
DAILY_IDS = 'daily_ids'


# Scores the test rows by a baseline, in the order of a replay.
ScoreFn = Callable[[request_lib.Request], scores_lib.Scores]


def _with_rates(**settings: Any) -> trees.Settings:
  rates = tabular.RateSettings(**settings)
  return dataclasses.replace(trees.Settings(), rates=rates)


REGISTRY: dict[str, ScoreFn] = {
    TREES: trees.score,
    TREES_ITEM_RATES: functools.partial(
        trees.score, settings=_with_rates(of_entities=False)
    ),
    TREES_AT_REFRESH: functools.partial(
        trees.score, settings=_with_rates(at_refresh=True)
    ),
    GLMIX: glmix.score,
    LAST_LAYER: last_layer.score,
    DAILY_IDS: daily_ids.score,
}

# Fitted once, for all seeds.
SEEDLESS = frozenset({TREES, TREES_ITEM_RATES, TREES_AT_REFRESH, GLMIX})
# The variant whose settings a baseline takes; of the others none matters.
VARIANTS: Mapping[str, str] = {
    LAST_LAYER: last_layer.VARIANT,
    DAILY_IDS: daily_ids.VARIANT,
}
