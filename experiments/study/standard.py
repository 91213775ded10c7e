"""Runs that several studies carry."""

import datetime

from experiments import variants
from experiments.study import run as run_lib
from limaml_jax import config as config_lib
from limaml_jax import errors

# In every study: what knows nothing must look like it.
CONTROL = run_lib.Run(run_lib.RANDOM, variant=run_lib.RANDOM)
DAY_HOURS = 24


def of_variants(*names: str) -> list[run_lib.Run]:
  """Returns a run for each variant, as it stands."""
  return [run_lib.Run(name, variant=name) for name in names]


def earlier(iso_time: str, days: float) -> str:
  """Returns an ISO time so many days before another, in the same zone."""
  time = datetime.datetime.fromisoformat(iso_time)
  return (time - datetime.timedelta(days=days)).isoformat()


def require_by_time(config: config_lib.Config) -> None:
  """Raises InputError unless all entities share their cutoffs."""
  if config.protocol.split != 'by_time' or not config.protocol.refresh_hours:
    raise errors.InputError(
        '--data: this study moves cutoffs that all entities share; choose a'
        ' configuration with protocol.split by_time and refresh_hours, such as'
        ' kuairand'
    )


def trained_earlier(
    config: config_lib.Config, days: int, variant: str = variants.LIMAML
) -> run_lib.Run:
  """Returns a run that is trained to so many days before the first test day.

  Its embeddings are refreshed all the same, and it is scored on the same rows.

  Args:
    config: of the study.
    days: before the end of training.
    variant: that is trained.
  """
  num_skipped, rest = divmod(
      days * DAY_HOURS, config.protocol.refresh_hours
  )
  if rest:
    raise errors.InputError(
        f'protocol.refresh_hours: is {config.protocol.refresh_hours}; this'
        ' study needs one that divides a day'
    )
  train_end = earlier(config.protocol.train_end, days)
  if not days:
    return run_lib.Run('', variant=variant)
  return run_lib.Run(
      '',
      variant=variant,
      settings={'protocol.train_end': train_end},
      options={'skip': num_skipped},
  )
