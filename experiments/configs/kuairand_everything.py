"""KuaiRand-Pure with all that may be known: past rates of users, history too.

    python -m experiments.kuairand_history --data_dir=DIR --output=DIR2
    python -m experiments.compare --data_dir=DIR2 \
        --config=experiments/configs/kuairand_everything.py \
        --workdir=runs/kuairand_everything --seeds=0,1,2,3,4

As kuairand_rates.py. Rates of users are as fresh as the event; what was before
the log is of the labelled history that the data set has beside it: counts of
users and of videos, no support.
"""

from ml_collections import config_dict

from experiments import variants
from experiments.configs import kuairand_rates

_TUNED = {
    variants.GLOBAL: {
        'outer_loop.learning_rate': 0.001,
        'outer_loop.table_learning_rate': 0.002,
        'outer_loop.num_epochs': 1,
        'outer_loop.weight_decay': 0.0001,
    },
    variants.WIDE_DEEP_ID: {
        'outer_loop.learning_rate': 0.001,
        'outer_loop.table_learning_rate': 0.002,
        'outer_loop.num_epochs': 1,
        'outer_loop.weight_decay': 0.0001,
        'episodes.support_dropout': 0.4,
    },
    variants.FIRST_ORDER: {'outer_loop.learning_rate': 0.003},
    variants.LIMAML: {'outer_loop.learning_rate': 0.003},
}


def get_config() -> config_dict.ConfigDict:
  """Returns the settings."""
  config = kuairand_rates.get_config()
  config.data.schema = 'kuairand_everything'
  for name, found in _TUNED.items():
    tuned = dict(config.variants[name]) | found
    config.variants[name] = tuple(tuned.items())
  return config
