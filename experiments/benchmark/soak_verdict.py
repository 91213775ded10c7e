"""Verdict on a soak: what it found, against what its periods imply."""

from typing import Any
from typing import NamedTuple

_LONG_SECONDS = 300  # From here on, memory and p99 are steady enough to judge.
_MEMORY_RATIO = 1.02
_P99_RATIO = 1.5
_LATE = 2  # Snapshots that may be still to come when it ends.


class Periods(NamedTuple):
  """What a soak was to do.

  Attributes:
    seconds: how long.
    publish: seconds from one snapshot to the next.
    restart: seconds from one restart of the store to the next.
    num_models: that take turns.
  """

  seconds: float
  publish: float
  restart: float
  num_models: int


def faults(found: dict[str, Any], periods: Periods) -> list[str]:
  """Returns what is wrong, a phrase each; none if the soak passes.

  Args:
    found: the line that the soak prints.
    periods: what it was to do.
  """
  restarts = int(periods.seconds // periods.restart)
  # One that falls into a restart is not published, and not tried again.
  snapshots = int(periods.seconds // periods.publish) + 1 - restarts - _LATE
  snapshots = max(snapshots, 1)
  least = {
      'requests': 1,
      'snapshots': snapshots,
      'models': min(periods.num_models, snapshots),
      'restarts': max(restarts - 1, 0),
      'exports': 1,
  }
  most: dict[str, float] = {'failed': 0, 'mixed': 0}
  if periods.seconds >= _LONG_SECONDS:
    # A version of its own for each model, and the one exported meanwhile.
    least['bundles'] = periods.num_models + 1
    most |= {'memory_ratio': _MEMORY_RATIO, 'p99_ratio': _P99_RATIO}
  few = [
      f'{name} {found[name]}, not {number} or more'
      for name, number in least.items()
      if found[name] < number
  ]
  many = [
      f'{name} {found[name]}, not {number} or less'
      for name, number in most.items()
      if found[name] > number
  ]
  ended = [] if found['publisher'] == 'ran' else ['the publisher ended early']
  return ended + few + many
