r"""Meta-trains one variant and checkpoints it; resumes where it was stopped.

    python -m experiments.train --config=experiments/configs/ml100k.py \
        --data=runs/ml100k/tasks --workdir=runs/ml100k/limaml

It runs on all devices of one process, or of several that share --data and
--workdir (docs/scaling.md). SIGTERM to any of them ends all after one and the
same step, with a checkpoint. Exit status: 0 trained, or stopped so; 1 an error,
in one line; 75 another process was lost: start them again.
"""

import logging
import pathlib
import sys

from absl import flags

from experiments import config_flag
from experiments import multihost
from experiments import pipeline
from experiments import progress
from experiments import variants
from limaml_jax import cluster
from limaml_jax.meta import outer_loop
from limaml_jax.training import preemption

_LOGGER = logging.getLogger(__name__)

flags.adopt_module_key_flags(multihost)
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
_PREEMPTED_STATUS = flags.DEFINE_integer(
    'preempted_status',
    0,
    'Exit status when SIGTERM stopped the run before its end; 75 where a '
    'launcher is to start it again.',
    lower_bound=0,
)


def main() -> None:
  """Trains --variant of --config on --data."""
  config = config_flag.resolve(_VARIANT.value)
  data = pipeline.load(_DATA.value)
  _LOGGER.info('Config: %s', config)
  workdir = pathlib.Path(_WORKDIR.value)
  with (
      preemption.Watch() as watch,
      progress.bar(f'train {_VARIANT.value}') as update,
  ):
    state = pipeline.train(
        config,
        data,
        workdir,
        stop_after=_STOP_AFTER.value,
        should_stop=watch.should_stop,
        on_progress=update,
    )
  if cluster.is_first():
    order = outer_loop.order_name(config.inner_loop)
    print(f'{workdir}: {int(state.step)} outer steps; {order}')
  if watch.stopped:
    if cluster.is_first():
      print('stopped by SIGTERM, with a checkpoint; the same command goes on')
    sys.exit(_PREEMPTED_STATUS.value)


if __name__ == '__main__':
  multihost.run(main, notes_sigterm=True)
