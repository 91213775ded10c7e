"""An evaluation by all processes of a job: each scores its share of entities.

WORKDIR/replay_store/scores.1_of_2/          store of the second process
WORKDIR/replay_store/scores.1_of_2.parquet   its rows, until they are merged
"""

import pathlib

import numpy as np

from experiments import pipeline
from limaml_jax import cluster
from limaml_jax.evaluation import replay
from limaml_jax.evaluation import scores as scores_lib
from limaml_jax.evaluation import shares


def score_share(
    data: pipeline.Dataset,
    run_dir: pathlib.Path,
    path: pathlib.Path,
    *,
    adapt: bool = True,
    on_progress: pipeline.OnProgress = lambda done, total: None,
) -> None:
  """Scores this process's share of the test events, and waits for the others.

  Args:
    data: the same in all processes.
    run_dir: the same folder in all processes.
    path: of the scores of all.
    adapt: serves unadapted embeddings when False.
    on_progress: told of this share.
  """
  place = cluster.place()
  part = _part(run_dir, path, place.index)
  part.unlink(missing_ok=True)  # Of an evaluation that was killed.
  store = part.with_suffix('')
  owner = shares.owners(data.table, place.count)
  served = pipeline.restore(data, run_dir, store=store, adapt=adapt)
  scores = pipeline.evaluate_as_served(
      data,
      served,
      store,
      on_progress,
      entities=np.flatnonzero(owner == place.index),
  )
  scores_lib.write(part, scores)
  cluster.wait_for_all('scored')


def merge(
    data: pipeline.Dataset, run_dir: pathlib.Path, path: pathlib.Path
) -> scores_lib.Scores:
  """Writes the scores of all shares, and returns them.

  Raises:
    InputError: if those of a process do not appear, or are not of these data.
  """
  count = cluster.place().count
  parts = [_part(run_dir, path, index) for index in range(count)]
  merged = shares.merge(
      [_read(part) for part in parts],
      replay.test_rows(data.table, data.info),
      shares.owners(data.table, count),
  )
  scores_lib.write(path, merged)
  for part in parts:
    part.unlink()
  return merged


def _part(
    run_dir: pathlib.Path, path: pathlib.Path, index: int
) -> pathlib.Path:
  name = f'{path.stem}.{index}_of_{cluster.place().count}.parquet'
  return run_dir / pipeline.REPLAY_STORE_DIR / name


def _read(part: pathlib.Path) -> scores_lib.Scores:
  return cluster.look_until(
      lambda: scores_lib.read(part) if part.exists() else None,
      f'{part}: another process wrote it, and it is not here',
  )
