"""KuaiRand-Pure by its videos: what became of each so far, refreshed daily.

    python -m experiments.prepare --data_dir=DIR --output=runs/videos/tasks \
        --config=experiments/configs/kuairand_videos.py
    python -m experiments.train --data=runs/videos/tasks \
        --config=experiments/configs/kuairand_videos.py \
        --workdir=runs/videos/limaml

As kuairand.py, with videos in the place of users; a minute on a CPU core.
docs/entity_types.md tells how the network of users reads these embeddings.
"""

from ml_collections import config_dict

from experiments.configs import kuairand

# On top of those of users.
SETTINGS = {
    'data.schema': 'kuairand_videos',
    'data.task_entity': 'video',
    'episodes.support_buckets': (64,),
    'episodes.query_buckets': (16,),
    'model.meta_block.embedding_size': 8,
}


def get_config() -> config_dict.ConfigDict:
  """Returns the settings."""
  config = kuairand.get_config()
  for name, tuned in config.variants.items():
    config.variants[name] = tuple((dict(tuned) | SETTINGS).items())
  return config
