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

_TUNED = {'outer_loop.learning_rate': 0.003}


def get_config() -> config_dict.ConfigDict:
  """Returns the settings."""
  config = kuairand_rates.get_config()
  config.data.schema = 'kuairand_everything'
  for name in (variants.FIRST_ORDER, variants.LIMAML):
    tuned = dict(config.variants[name]) | _TUNED
    config.variants[name] = tuple(tuned.items())
  return config
