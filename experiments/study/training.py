"""Training once: runs of the same settings and data share their checkpoint."""

import json
import pathlib
import time

import numpy as np

from experiments import pipeline
from experiments.study import run as run_lib
from limaml_jax import config as config_lib
from limaml_jax import overrides

_TRAINED_DIR = 'trained'
_FACTS_FILE = 'training_facts.json'
# A step that takes so many times the median has waited for a compilation.
_COMPILES = 10.0


def key(config: config_lib.Config, data: pipeline.Dataset) -> str:
  """Returns what names the checkpoint of a configuration."""
  return run_lib.digest(
      overrides.flatten(config), data.info.fingerprint, data.info.encoding
  )


def train(
    config: config_lib.Config,
    data: pipeline.Dataset,
    workdir: pathlib.Path,
    on_progress: pipeline.OnProgress,
) -> tuple[pathlib.Path, dict[str, float | None]]:
  """Trains, resumes, or finds what is trained.

  Args:
    config: of the run.
    data: its dataset.
    workdir: of all studies.
    on_progress: told of each outer step.

  Returns:
    Directory of the run, and facts: `num_steps`; `train_seconds`, those that
    the steps take without compiling, None where an earlier call took them.

  Raises:
    InputError: as `loop.train`.
  """
  run_dir = workdir / _TRAINED_DIR / key(config, data)
  path = run_dir / _FACTS_FILE
  if path.exists():
    return run_dir, json.loads(path.read_text())
  ticks = []

  def tick(done, num_steps):
    ticks.append(time.perf_counter())
    on_progress(done, num_steps)

  state = pipeline.train(config, data, run_dir, on_progress=tick)
  num_steps, seconds = int(state.step), _seconds_per_step(ticks)
  facts = {
      'num_steps': float(num_steps),
      'train_seconds': None if seconds is None else num_steps * seconds,
  }
  pipeline.write_text(path, json.dumps(facts))
  return run_dir, facts


def _seconds_per_step(ticks: list[float]) -> float | None:
  """Returns the mean time between ticks, those of compilations left out."""
  waits = np.diff(ticks)
  if not waits.size:
    return None
  return float(np.mean(waits[waits <= _COMPILES * np.median(waits)]))
