r"""Makes tasks from a log: reads, checks, orders, splits, and stores them.

    python -m experiments.prepare --config=experiments/configs/ml100k.py \
        --data_dir=DIR_OF_RAW_FILES --output=runs/ml100k/tasks
"""

import pathlib

from absl import flags

from experiments import binary
from experiments import config_flag
from experiments import pipeline
from experiments import progress
from experiments import variants

flags.adopt_module_key_flags(binary)
flags.adopt_module_key_flags(config_flag)

_DATA_DIR = flags.DEFINE_string(
    'data_dir',
    None,
    'Directory that the files of the schema are relative to.',
    required=True,
)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'Receives the dataset.', required=True
)


def main() -> None:
  """Prepares the dataset of --config."""
  config = config_flag.resolve(variants.LIMAML)
  with progress.bar('prepare') as update:
    info = pipeline.prepare(
        config,
        pathlib.Path(_DATA_DIR.value),
        pathlib.Path(_OUTPUT.value),
        lambda stage, done, total: update(done, total),
    )
  print(
      f'{_OUTPUT.value}: {info.num_interactions:,} interactions of '
      f'{info.num_entities:,} {info.entity_type}s, {info.num_train:,} to train '
      f'on; {info.protocol}'
  )


if __name__ == '__main__':
  binary.run(main)
