"""A process of a cluster that does as it is told, for tests of launchers.

    python -m tests.launch.member FOLDER ATTEMPT.PROCESS=ACTION ...

Each start adds a line to FOLDER/PROCESS: its pid, and what it was given. What
is said of no attempt and process ends at once, with status 0.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

_VARIABLES = ('JAX_', 'PYTHONUNBUFFERED')


def _wait(folder, name):
  """Waits to be killed; SIGTERM has it "save" first."""

  def save(number, frame):
    del number, frame
    (folder / f'{name}.saved').touch()
    sys.exit(int(os.environ.get('PREEMPTED_STATUS', '0')))

  signal.signal(signal.SIGTERM, save)
  (folder / f'{name}.waits').touch()
  time.sleep(600)


def _has(folder, pattern):
  deadline = time.monotonic() + 30
  while not list(folder.glob(pattern)) and time.monotonic() < deadline:
    time.sleep(0.01)


def main() -> None:
  """Does the action of this attempt and process."""
  folder = pathlib.Path(sys.argv[1])
  name = os.environ.get('JAX_PROCESS_ID', os.environ.get('SLURM_PROCID', '0'))
  path = folder / name
  attempt = len(path.read_text().splitlines()) if path.exists() else 0
  given = {k: v for k, v in os.environ.items() if k.startswith(_VARIABLES)}
  record = {'pid': os.getpid(), 'argv': sys.argv[1:], 'environment': given}
  with path.open('a') as file:
    file.write(json.dumps(record) + '\n')
  print(f'attempt {attempt}')
  actions = dict(a.split('=') for a in sys.argv[2:] if not a.startswith('-'))
  action, _, argument = actions.get(f'{attempt}.{name}', 'end:0').partition(':')
  if action == 'end':
    sys.exit(int(argument))
  if action == 'leave':  # With a status, once the other one waits.
    _has(folder, '*.waits')
    sys.exit(int(argument))
  if action == 'die':  # By a signal, likewise.
    _has(folder, '*.waits')
    os.kill(os.getpid(), int(argument))
  if action == 'wait':
    _wait(folder, f'{name}.{attempt}')
  if action == 'deaf':
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (folder / f'{name}.waits').touch()
    time.sleep(600)
  if action == 'parent':  # Of a process that would outlive it.
    code = 'import time; time.sleep(600)'
    child = subprocess.Popen([sys.executable, '-c', code])
    (folder / f'{name}.child').write_text(str(child.pid))
    os.kill(os.getpid(), signal.SIGKILL)
  if action == 'mark':  # For those that wait for it.
    (folder / f'{name}.waits').touch()
  if action == 'partial':
    print('no end of line', end='')


if __name__ == '__main__':
  main()
