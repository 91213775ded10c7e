"""A daily job that takes a fraction of a second, here or in its own process.

  python -m tests.refresh.small_refresh days STORE DIR [on]
      refreshes day after day, rolls back, publishes again and prunes, and says
      what it does; after the last day it is over, or goes on with the first
  python -m tests.refresh.small_refresh read STORE
      looks everybody up again and again, and says what it saw in JSON, until
      its input ends
"""

import hashlib
import json
import pathlib
import sys
import threading
import time

import jax
import numpy as np

from limaml_jax.refresh import gate
from limaml_jax.refresh import job
from limaml_jax.store import address
from limaml_jax.store import lookup
from limaml_jax.store import snapshot
from limaml_jax.training import assembly as assembly_lib
from tests import serving_line
from tests import synthetic
from tests.training import small_run

NUM_ENTITIES = 60
NUM_DAYS = 12
# Small worlds drift, and their ROC-AUC means nothing.
LENIENT = gate.GateConfig(
    max_norm_ratio=100.0, max_drift=100.0, max_quality_loss=1.0
)
NOW = 2_000_000_000
_PAUSE_SECONDS = 0.002  # Of a reader, lest it take the job's core.


def make_config():
  """Returns settings of chunks so small that there are many."""
  return small_run.make_config(
      model__meta_block__kind='mlp',
      inner_loop__learning_rate=3.0,
      refresh__entities_per_chunk=8,
  )


def make_data():
  """Returns tasks whose events are spread over NUM_DAYS days."""
  table, info = synthetic.make_tasks(num_entities=NUM_ENTITIES)
  start = table.timestamps.min()
  # Entities begin one after another, so that a day is one of few.
  late = np.repeat(np.arange(NUM_ENTITIES), np.diff(table.offsets)) % 10 * 4000
  return table._replace(timestamps=table.timestamps + late), info, int(start)


def cutoffs() -> list[int]:
  """Returns the cutoff of each day, UTC seconds."""
  table, _, start = make_data()
  stop = int(table.timestamps.max()) + 1
  return np.linspace(start + 9000, stop, NUM_DAYS).astype(int).tolist()


def make_line(
    store, *, data=None, seed=0, meta_seed=0, dtype='float32'
) -> serving_line.ServingLine:
  """Returns a model of random parameters, and its store."""
  table, info, _ = data or make_data()
  config = make_config()
  model = assembly_lib.assemble(config, info).model
  params = model.init(jax.random.key(seed))
  params = params._replace(
      meta_block=model.init(jax.random.key(meta_seed)).meta_block
  )
  return serving_line.make_line(
      table, info, params, config=config, store=store, dtype=dtype
  )


def refresh(line, cutoff, directory, *, now=NOW, **settings) -> job.Outcome:
  """Runs the daily job."""
  on_progress = settings.pop('on_progress', lambda stage, done, total: None)
  score = settings.pop('score', line.score)
  return job.run(
      line.refresher,
      job.Settings(cutoff, **{'gate': LENIENT} | settings),
      directory=pathlib.Path(directory),
      names=line.assembly.names.regular,
      score=score,
      now=now,
      on_progress=on_progress,
  )


def digest(vectors: np.ndarray) -> str:
  """Returns what tells a whole snapshot's vectors from others."""
  return hashlib.sha256(vectors.tobytes()).hexdigest()[:16]


def _days(where: str, directory: str, on: str = '') -> None:
  line = make_line(where)
  store = line.refresher.store
  days = cutoffs()
  # Compiles all there is, before it is worth killing.
  list(line.refresher.generate(line.refresher.plan(days[-1])))
  print('ready', flush=True)
  published = store.published('user')
  seen = 0
  if published:
    seen = store.manifest('user', store.current('user')).cutoff
  for cutoff in days:
    if cutoff >= seen:
      _day(line, cutoff, directory)
  while on:
    for cutoff in days:
      _day(line, cutoff, directory, full=cutoff == days[0])
  print('over', flush=True)


def _day(line, cutoff, directory, *, full=False):
  store = line.refresher.store
  say = lambda stage, done, total: print(f'{stage} {done}', flush=True)
  outcome = refresh(line, cutoff, directory, full=full, on_progress=say)
  version = outcome.manifest.version
  print(f'published {version}', flush=True)
  if int(version) % 3 == 2 and version > min(store.published('user')):
    print('rollback', flush=True)
    snapshot.rollback(store, 'user')
    print('publish', flush=True)
    snapshot.publish(store, 'user', version)
  print('prune', flush=True)
  snapshot.prune(store, 'user', keep=3)


def _read(where: str) -> None:
  keys = make_data()[0].entity_keys.tolist()
  store = address.open_backend(where)
  over = threading.Event()
  threading.Thread(
      target=lambda: (sys.stdin.read(), over.set()), daemon=True
  ).start()
  seen = set()
  with lookup.Reader(store, 'user') as reader:
    while not over.is_set():
      found = reader.lookup(keys)
      what = (
          found.version,
          digest(found.vectors),
          bool((found.statuses == lookup.Status.PRESENT).all()),
      )
      if what not in seen:
        seen.add(what)
        print(json.dumps(what), flush=True)
      time.sleep(_PAUSE_SECONDS)


if __name__ == '__main__':
  {'days': _days, 'read': _read}[sys.argv[1]](*sys.argv[2:])
