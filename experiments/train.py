r"""Meta-trains one variant and checkpoints it; resumes where it was stopped.

    python -m experiments.train --config=experiments/configs/ml100k.py \
        --data=runs/ml100k/tasks --workdir=runs/ml100k/limaml
"""

import logging
import pathlib

from absl import flags

from experiments import binary
from experiments import config_flag
from experiments import pipeline
from experiments import progress
from experiments import variants
from limaml_jax.meta import outer_loop

_LOGGER = logging.getLogger(__name__)

flags.adopt_module_key_flags(binary)
flags.adopt_module_key_flags(config_flag)

_VARIANT = flags.DEFINE_string(
    'variant', variants.LIMAML, f'One of {", ".join(variants.TRAINED)}.'
)
_DATA = flags.DEFINE_string(
    'data', None, 'Dataset that `prepare` made.', required=True
)
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Receives checkpoints and metrics.', required=True
)
_STOP_AFTER = flags.DEFINE_integer(
    'stop_after',
    None,
    'Stops early, with a checkpoint, after this many outer steps; the same '
    'command without it goes on.',
    lower_bound=1,
)


def main() -> None:
  """Trains --variant of --config on --data."""
  config = config_flag.resolve(_VARIANT.value)
  data = pipeline.load(_DATA.value)
  _LOGGER.info('Config: %s', config)
  workdir = pathlib.Path(_WORKDIR.value)
  with progress.bar(f'train {_VARIANT.value}') as update:
    state = pipeline.train(
        config,
        data,
        workdir,
        stop_after=_STOP_AFTER.value,
        on_progress=update,
    )
  order = outer_loop.order_name(config.inner_loop)
  print(f'{workdir}: {int(state.step)} outer steps; {order}')


if __name__ == '__main__':
  binary.run(main)
