"""Runs the binaries as their users do, on a small generated MovieLens log."""

import functools
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading

import numpy as np

ROOT = pathlib.Path(__file__).parents[2]
_PATIENCE_SECONDS = 300  # Before a binary that goes on is called broken.
_START = 880_000_000  # UTC seconds.
SMALL_SETTINGS = {
    'episodes.tasks_per_step': 8,
    'episodes.support_buckets': (8,),
    'episodes.query_buckets': (8,),
    'model.global_block.widths': (8,),
    'model.meta_block.widths': (8,),
    'model.meta_block.embedding_size': 4,
    'outer_loop.num_epochs': 1,
}
# Shared with all tests, as they compile the same programs.
CACHE = f'--compilation_cache={os.environ.get("JAX_COMPILATION_CACHE_DIR", "")}'
SMALL = tuple(f'--config.{name}={x}' for name, x in SMALL_SETTINGS.items())


def run(verb: str, *flags: str) -> subprocess.CompletedProcess[str]:
  """Runs `python -m experiments.VERB FLAGS` and returns what it printed.

  Its imports of other libraries are done, see forked.py: they take seconds.
  """
  with tempfile.TemporaryDirectory() as folder:
    paths = {name: f'{folder}/{name}' for name in ('stdout', 'stderr')}
    command = {'module': f'experiments.{verb}', 'argv': flags} | paths
    server = _server()
    timer = threading.Timer(
        _PATIENCE_SECONDS, os.killpg, (server.pid, signal.SIGKILL)
    )
    timer.start()
    print(json.dumps(command), file=server.stdin, flush=True)
    answer = server.stdout.readline()
    timer.cancel()
    printed = {
        name: pathlib.Path(path).read_text() for name, path in paths.items()
    }
  if not answer:
    _server.cache_clear()
    raise AssertionError(f'{command} took too long: {printed}')
  return subprocess.CompletedProcess(flags, int(answer), **printed)


@functools.cache
def _server() -> subprocess.Popen[str]:
  """Starts what runs the binaries; it ends with this process."""
  server = subprocess.Popen(
      [sys.executable, '-m', 'tests.experiments.forked'],
      cwd=ROOT,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      start_new_session=True,  # To be killed with what it runs.
  )
  assert server.stdout.readline() == 'ready\n'
  return server


def run_by_two(verb: str, *flags: str) -> subprocess.CompletedProcess[str]:
  """Runs it as two processes; each line printed begins with [0] or [1]."""
  launcher = ('launch.local', '--num_processes=2', '--submit', '--')
  result = subprocess.run(
      [sys.executable, '-m', *launcher, '-m', f'experiments.{verb}', *flags],
      cwd=ROOT,
      capture_output=True,
      text=True,
      timeout=_PATIENCE_SECONDS,
      check=False,
  )
  lines = result.stdout.splitlines(keepends=True)
  # The library of the collectives says that it is there.
  result.stdout = ''.join(line for line in lines if '[Gloo]' not in line)
  return result


def write_log(
    directory: pathlib.Path,
    num_users: int = 40,
    num_items: int = 30,
    gap_seconds: int = 60,
) -> None:
  """Writes atomic files of the shape of MovieLens-100K."""
  directory.mkdir(parents=True, exist_ok=True)
  rng = np.random.default_rng(0)
  users = ['user_id:token\tage:token\tgender:token\toccupation:token\t'
           'zip_code:token']
  events = ['user_id:token\titem_id:token\trating:float\ttimestamp:float']
  for user in range(1, num_users + 1):
    gender = 'MF'[user % 2]
    users.append(
        f'{user}\t{20 + user % 40}\t{gender}\tjob{user % 3}\t{10000 + user}'
    )
    items = rng.permutation(num_items)[: rng.integers(6, 25)] + 1
    for position, item in enumerate(items):
      rating = rng.integers(1, 6)
      time = _START + user * 1000 + position * gap_seconds
      events.append(f'{user}\t{item}\t{rating}\t{time}')
  items = ['item_id:token\tmovie_title:token_seq\trelease_year:token\t'
           'class:token_seq']
  items += [
      f'{n}\tFilm {n}\t{1980 + n % 10}\tDrama Comedy'
      for n in range(1, num_items + 1)
  ]
  for name, lines in (('user', users), ('item', items), ('inter', events)):
    path = directory / f'ml-100k.{name}'
    path.write_text('\n'.join(lines) + '\n')
