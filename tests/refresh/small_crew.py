"""Several refreshes by the processes of a cluster, one after another.

  python -m tests.refresh.small_crew STORE DIRECTORY [PROCESS:PARTS ...]

says in JSON, a line each, what came of each in this process. In the attempt of
the same number, the process dies once it has staged so many parts.
"""

import dataclasses
import json
import os
import pathlib
import signal
import sys

from limaml_jax import cluster
from limaml_jax import errors
from limaml_jax.refresh import job
from limaml_jax.refresh import staging as staging_lib
from tests.refresh import small_refresh

# The name of each refresh, its cutoff and its settings.
STRICT = dataclasses.replace(small_refresh.LENIENT, max_drift=0.0)
REFRESHES = (
    ('full', small_refresh.cutoffs()[4], {}),
    ('incremental', small_refresh.cutoffs()[6], {}),
    ('same', small_refresh.cutoffs()[6], {}),
    ('refused', small_refresh.cutoffs()[8], {'gate': STRICT}),
    ('future', small_refresh.NOW + 1000, {}),
)


def _say(**fields):
  print(json.dumps(fields), flush=True)


def _die_after(num_parts):
  add = staging_lib.Staging.add
  added = []

  def add_and_die(self, chunk):
    add(self, chunk)
    added.append(chunk.number)
    if len(added) == num_parts:
      os.kill(os.getpid(), signal.SIGKILL)

  staging_lib.Staging.add = add_and_die


def _attempt(directory):
  """Returns how often this process was started before."""
  path = directory / f'attempts_{cluster.place().index}'
  before = path.read_text() if path.exists() else ''
  path.write_text(before + '.')
  return len(before)


def _refresh(line, name, cutoff, settings, directory):
  """Leads or assists, and says what came of it."""
  steps = []
  try:
    if cluster.is_first():
      result = small_refresh.refresh(
          line,
          cutoff,
          directory / 'job',
          on_progress=lambda *step: steps.append(step),
          **settings,
      ).result
    else:
      result = job.assist(line.refresher, directory=directory / 'job')
    _say(name=name, result=result.value, adapt=[s for s in steps if s[2] > 1])
  except cluster.KnownError as error:
    _say(name=name, result=str(error))


def main(store: str, directory: str, *kills: str) -> None:
  """Refreshes again and again; in the end with another model in one."""
  place = cluster.join(
      required=True, peer_timeout_seconds=20, notes_sigterm=False
  )
  folder = pathlib.Path(directory)
  attempt = _attempt(folder)
  if attempt < len(kills):
    victim, _, num_parts = kills[attempt].partition(':')
    if int(victim) == place.index:
      _die_after(int(num_parts))
  # Nobody but the first can open it.
  store = store if cluster.is_first() else '/dev/null/closed'
  line = small_refresh.make_line(store)
  for name, cutoff, settings in REFRESHES:
    _refresh(line, name, cutoff, settings, folder)
  other = small_refresh.make_line(store, meta_seed=place.index)
  try:
    _refresh(other, 'other', small_refresh.cutoffs()[9], {}, folder)
  except errors.InputError as error:
    _say(name='other', result=str(error))
    os._exit(1)


if __name__ == '__main__':
  main(*(word for word in sys.argv[1:] if not word.startswith('--')))
