"""The library's own settings: where a log of one's own starts from.

    python -m experiments.prepare --schema=SCHEMA --input='DIR/*.parquet' \
        --output=runs/mine/tasks
    python -m experiments.train --config=experiments/configs/defaults.py \
        --data=runs/mine/tasks --workdir=runs/mine/limaml
"""

from ml_collections import config_dict

from experiments import variants
from limaml_jax import config as config_lib


def get_config() -> config_dict.ConfigDict:
  """Returns the settings."""
  return variants.settings(config_lib.Config(), {})
