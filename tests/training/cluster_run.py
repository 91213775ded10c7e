"""A run of meta-training on several devices and processes; see `cluster_test`.

  python -m tests.training.cluster_run '{"workdir": ..., ...}'

trains as the JSON object says: "settings" by name, "stop_after", and "term",
the [process, step] at which that process sends itself SIGTERM. Each process
writes to WORKDIR/seen_INDEX.jsonl which episodes it was given, and prints one
line, the number of steps in the end. The variables of `cluster` tell of the
others.
"""

import dataclasses
import json
import os
import pathlib
import signal
import sys
import time

import numpy as np

from limaml_jax import cluster
from limaml_jax.data import reader as reader_lib
from limaml_jax.training import assembly
from limaml_jax.training import loop
from limaml_jax.training import mesh as mesh_lib
from limaml_jax.training import preemption
from tests import synthetic
from tests.training import small_run

# Too many to be fetched whole, so that rows are exchanged.
NUM_ROWS = 4096
SETTINGS = {
    'model__max_table_dimension': 4,
    'episodes__tasks_per_step': 8,
    'outer_loop__num_epochs': 2,
}


def make_data():
  """Returns tasks whose items lie all over a table."""
  table, info = synthetic.make_tasks(num_entities=30)
  ids = table.event_features['item_id']
  table.event_features['item_id'] = (ids * 99).astype(np.int32)
  features = tuple(
      dataclasses.replace(spec, num_rows=NUM_ROWS)
      if spec.name == 'item_id'
      else spec
      for spec in info.features
  )
  return table, dataclasses.replace(info, features=features)


def train(workdir, settings, **options):
  """Trains or resumes, here."""
  data = make_data()
  return small_run.train(workdir, data=data, **SETTINGS | settings, **options)


def reader_of(settings):
  """Returns all meta-batches of a run, and their plan."""
  table, info = make_data()
  config = small_run.make_config(**SETTINGS | settings)
  names = assembly.assemble(config, info, mesh_rows=1).names
  return reader_lib.make_reader(table, info, names=names, config=config)


def contents(episodes):
  """Tells tasks apart: what each asks and what it is adapted to, [T]."""
  sums = [
      np.sum(part.features['item_id'] * part.mask.astype(int), axis=1)
      for part in (episodes.query, episodes.support)
  ]
  return (sums[0] * 1_000_000 + sums[1]).tolist()


def _note_episodes(path, settings):
  """Has every meta-batch noted that the loop takes."""
  config = small_run.make_config(**SETTINGS | settings)
  mesh = mesh_lib.make_mesh(config.training.mesh_rows)
  mine = mesh_lib.local_tasks(config.episodes.tasks_per_step, mesh)
  iterate = reader_lib.iterate

  class Noted:
    def __init__(self, steps, first_step=0):
      self._reader = iterate(steps, first_step)
      self._step = first_step

    def __next__(self):
      meta_batch = next(self._reader)
      self._step += 1
      line = [
          self._step,
          meta_batch.identity[mine].tolist(),
          contents(meta_batch.episodes),
      ]
      with path.open('a') as file:
        file.write(json.dumps(line) + '\n')
      return meta_batch

    def close(self):
      self._reader.close()

  loop.reader_lib.iterate = Noted


def main(arguments):
  """Trains as told."""
  peer_timeout = arguments.get('peer_timeout_seconds', 60)
  cluster.join(required=None, peer_timeout_seconds=peer_timeout)
  place = cluster.place()
  workdir = pathlib.Path(arguments['workdir'])
  settings = arguments.get('settings', {})
  workdir.mkdir(parents=True, exist_ok=True)
  _note_episodes(workdir / f'seen_{place.index}.jsonl', settings)
  process, step = arguments.get('term') or (-1, -1)

  def on_progress(done, total):
    del total
    if (place.index, done) == (process, step):
      os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(arguments.get('step_seconds', 0))

  with preemption.Watch() as watch:
    state = train(
        workdir,
        settings,
        stop_after=arguments.get('stop_after'),
        should_stop=watch.should_stop,
        on_progress=on_progress,
    )
  print(int(state.step), flush=True)


if __name__ == '__main__':
  main(json.loads(sys.argv[1]))
