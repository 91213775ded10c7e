"""Runs the binaries as their users do, on a small generated MovieLens log."""

import pathlib
import subprocess
import sys

import numpy as np

ROOT = pathlib.Path(__file__).parents[2]
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
SMALL = tuple(f'--config.{name}={x}' for name, x in SMALL_SETTINGS.items())


def run(verb: str, *flags: str) -> subprocess.CompletedProcess[str]:
  """Runs `python -m experiments.VERB FLAGS` and returns what it printed."""
  return _run(f'experiments.{verb}', *flags)


def run_by_two(verb: str, *flags: str) -> subprocess.CompletedProcess[str]:
  """Runs it as two processes; each line printed begins with [0] or [1]."""
  launcher = ('launch.local', '--num_processes=2', '--submit', '--')
  result = _run(*launcher, '-m', f'experiments.{verb}', *flags)
  lines = result.stdout.splitlines(keepends=True)
  # The library of the collectives says that it is there.
  result.stdout = ''.join(line for line in lines if '[Gloo]' not in line)
  return result


def _run(*words: str) -> subprocess.CompletedProcess[str]:
  return subprocess.run(
      [sys.executable, '-m', *words],
      cwd=ROOT,
      capture_output=True,
      text=True,
      timeout=300,
      check=False,
  )


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
