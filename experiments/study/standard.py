"""Runs that several studies carry."""

from collections.abc import Sequence
import datetime

from experiments import variants
from experiments.study import run as run_lib
from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax.data.tasks import protocol as protocol_lib

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


def distinct_intervals(
    config: config_lib.Config, hours: Sequence[int]
) -> list[int]:
  """Leaves out refresh intervals that would be others under another name.

  One as long as the tested window, or longer, is a single refresh: of these
  that of the protocol is kept, or else the shortest.

  Args:
    config: of the study, whose protocol is by time.
    hours: between refreshes, ascending.
  """
  first, last = (
      protocol_lib.parse_time(getattr(config.protocol, name), name)
      for name in _window(config.protocol)
  )
  tested = (last - first) / 3600
  once = [n for n in hours if n >= tested]
  own = config.protocol.refresh_hours
  if not 0 < own < tested:
    once = [n for n in once if n == own]
  return [n for n in hours if n < tested] + once[:1]


def _window(protocol: config_lib.ProtocolConfig) -> tuple[str, str]:
  """Returns the settings that begin and end what is tested."""
  if protocol.phase == 'validation':
    return 'validation_start', 'train_end'
  return 'train_end', 'test_end'


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
  if not days:
    return run_lib.Run('', variant=variant)
  first, _ = _window(config.protocol)
  start = earlier(getattr(config.protocol, first), days)
  return run_lib.Run(
      '',
      variant=variant,
      settings={f'protocol.{first}': start},
      options={'skip': num_skipped},
  )
