"""KuaiRand-Pure with past rates of what is shown, none of users.

    python -m experiments.compare --data_dir=DIR \
        --config=experiments/configs/kuairand_rates.py \
        --workdir=runs/kuairand_rates --seeds=0,1,2,3,4

As kuairand.py, with `deep_sets`: the meta block reads the support rows, too.
"""

from ml_collections import config_dict

from experiments import variants
from experiments.configs import kuairand

_HISTORY = {
    'model.meta_block.kind': 'deep_sets',
    'inner_loop.learning_rate': 0.5,
}


def get_config() -> config_dict.ConfigDict:
  """Returns the settings."""
  config = kuairand.get_config()
  config.data.schema = 'kuairand_rates'
  for name in (variants.FIRST_ORDER, variants.LIMAML):
    tuned = dict(config.variants[name]) | _HISTORY
    config.variants[name] = tuple(tuned.items())
  return config
