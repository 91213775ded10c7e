"""Runs that several studies carry."""

import datetime

from experiments.study import run as run_lib
from limaml_jax import config as config_lib

# In every study: what knows nothing must look like it.
CONTROL = run_lib.Run(run_lib.RANDOM, variant=run_lib.RANDOM)
DAY_HOURS = 24


def of_variants(*names: str) -> list[run_lib.Run]:
  """Returns a run for each variant, as it stands."""
  return [run_lib.Run(name, variant=name) for name in names]


def is_by_time(config: config_lib.Config) -> bool:
  """Returns whether all entities share their cutoffs."""
  return config.protocol.split == 'by_time'


def earlier(iso_time: str, days: float) -> str:
  """Returns an ISO time so many days before another, in the same zone."""
  time = datetime.datetime.fromisoformat(iso_time)
  return (time - datetime.timedelta(days=days)).isoformat()
