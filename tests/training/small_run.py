"""A run of meta-training that takes seconds, here or in a process of its own.

  python -m tests.training.small_run pause WORKDIR STEP   stops there, waiting
  python -m tests.training.small_run go_on WORKDIR STEP   says so, and goes on
  python -m tests.training.small_run shard WORKDIR        trains on all devices
"""

import json
import pathlib
import sys

import jax

from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax import overrides
from limaml_jax.training import loop
from limaml_jax.training import state as state_lib
from tests import synthetic

NUM_STEPS = 10


def make_config(**settings) -> config_lib.Config:
  """Returns settings of a run of NUM_STEPS outer steps."""
  return overrides.override(
      config_lib.Config(),
      {
          'episodes.tasks_per_step': 8,
          'episodes.support_buckets': (8,),
          'episodes.num_support_buckets': 1,
          'episodes.query_buckets': (4,),
          'model.meta_block.widths': (4,),
          'model.meta_block.embedding_size': 4,
          'model.global_block.widths': (4,),
          'outer_loop.num_epochs': 1,
          'training.checkpoint_every': 2,
          'training.log_every': 1,
      }
      | {name.replace('__', '.'): value for name, value in settings.items()},
  )


def make_data():
  return synthetic.make_tasks(num_entities=30)


def train(
    workdir: str | pathlib.Path,
    *,
    data=None,
    stop_after=None,
    should_stop=lambda done: False,
    on_progress=lambda done, total: None,
    **settings,
) -> state_lib.TrainState:
  """Trains or resumes."""
  table, info = data or make_data()
  return loop.train(
      make_config(**settings),
      table,
      info,
      pathlib.Path(workdir),
      stop_after=stop_after,
      should_stop=should_stop,
      on_progress=on_progress,
  )


def read_losses(workdir: str | pathlib.Path) -> list[dict[str, float]]:
  """Returns the metric records of a run, without their times."""
  lines = (pathlib.Path(workdir) / 'metrics.jsonl').read_text().splitlines()
  records = [json.loads(line) for line in lines]
  return [
      {name: value for name, value in record.items() if name != 'wall_s'}
      for record in records
  ]


def _announce(verb: str, workdir: str, step: str) -> None:
  """Trains, and says when `step` is reported, so as to be killed there."""

  def on_progress(done, total):
    del total
    if done == int(step):
      print(done, flush=True)
      if verb == 'pause':
        sys.stdin.read()

  train(workdir, on_progress=on_progress)


def _shard(workdir: str) -> None:
  """Trains twice on all devices, and prints how the tables were divided."""
  found = {'num_devices': jax.device_count()}
  for mesh_rows in (1, 2):
    state = train(
        pathlib.Path(workdir) / f'mesh_rows_{mesh_rows}',
        training__mesh_rows=mesh_rows,
        training__memory_budget_bytes=mesh_rows - 1,  # One task at a time.
    )
    found[f'mesh_rows_{mesh_rows}'] = {
        name: [table.shape[0], table.addressable_shards[0].data.shape[0]]
        for name, table in state.params.tables.items()
    }
  try:
    train(pathlib.Path(workdir) / 'uneven', episodes__tasks_per_step=6)
  except errors.InputError as error:
    found['error'] = str(error)
  print(json.dumps(found))


if __name__ == '__main__':
  if sys.argv[1] == 'shard':
    _shard(*sys.argv[2:])
  else:
    _announce(*sys.argv[1:])
