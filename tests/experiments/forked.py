"""Runs binaries that begin with the slow imports of others done.

  python -m tests.experiments.forked

imports those, none of them this project's, and reads commands line by line, in
JSON: {'module', 'argv', 'stdout', 'stderr'}, the latter two paths. It runs each
in a child of its own, as `python -m MODULE ARGV` would, and prints its return
code: that of a signal is negative.
"""

import importlib
import json
import os
import runpy
import sys
import warnings

_SLOW_IMPORTS = (
    'duckdb',
    'flax.linen',
    'grain',
    'jax',
    'jax.export',
    'jax.numpy',
    'ml_collections.config_flags',
    'numpy',
    'optax',
    'orbax.checkpoint',
    'pyarrow.dataset',
    'pyarrow.parquet',
)


def main() -> None:
  """Returns in a child only, once its command is over, or without input."""
  for name in _SLOW_IMPORTS:
    importlib.import_module(name)
  print('ready', flush=True)
  # By lines of its own, so that a child finds none left in a buffer.
  while line := sys.stdin.readline():
    command = json.loads(line)
    with warnings.catch_warnings():
      # Of lost threads; but no computation has begun that has any.
      warnings.simplefilter('ignore')
      child = os.fork()
    if not child:
      _become(**command)
      return
    status = os.waitpid(child, 0)[1]
    print(os.waitstatus_to_exitcode(status), flush=True)


def _become(module: str, argv: list[str], stdout: str, stderr: str) -> None:
  for number, path in ((0, os.devnull), (1, stdout), (2, stderr)):
    flags = os.O_RDWR | os.O_CREAT if number else os.O_RDONLY
    opened = os.open(path, flags)
    os.dup2(opened, number)
    os.close(opened)
  sys.argv = [sys.argv[0], *argv]
  sys.modules.pop('__main__', None)
  runpy.run_module(module, run_name='__main__', alter_sys=True)


if __name__ == '__main__':
  main()
