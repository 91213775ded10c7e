#!/usr/bin/env python3
"""The batch script of `launch.slurm`: keeps a step running in an allocation.

SLURM copies it to the first node and runs it there, so it imports nothing but
the standard library. It starts the program on all nodes by srun, and again when
a process died. Near the time limit, and when SLURM preempts the job, the
program saves and the job is queued again.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import time

_AGAIN = 75  # As in launch/job.py.
_SIGNALS = 128  # srun adds it to the number of a signal.
_QUICK_SECONDS = 60.0
_MAX_DELAY_SECONDS = 60.0
# What srun says of tasks that failed; lines of the tasks start with a number.
_FAILED = re.compile(rb'srun: error: \S+: tasks? [-\d,]+: ')
_EXITED = re.compile(_FAILED.pattern + rb'Exited with exit code (\d+)')
_BY_ABORT = re.compile(_FAILED.pattern + rb'Aborted')
_KILLED = _SIGNALS + signal.SIGKILL  # Or another, which does not matter.
_ABORTED = _SIGNALS + signal.SIGABRT


class Asked:
  """Notes what the job was told by signals."""

  def __init__(self):
    self.is_ending = False  # Nothing is started again here.
    self.is_requeued = False  # There is no time left: it goes on later.
    self._is_running = False
    signal.signal(signal.SIGUSR1, self._near_limit)
    signal.signal(signal.SIGTERM, self._end)
    signal.signal(signal.SIGALRM, self._tell)

  def watch(self, is_running):
    """Says whether there is a step to pass the signals on to."""
    self._is_running = is_running
    if self.is_ending:
      self._tell()

  def _near_limit(self, number, frame):
    del number, frame
    say('the time limit is near: saving')
    self.is_requeued = True
    self._tell()

  def _end(self, number, frame):
    del number, frame
    say('told to end: saving')
    self._tell()

  def _tell(self, number=None, frame=None):
    """Sends SIGTERM to all tasks; srun would kill them instead."""
    del frame
    self.is_ending = True
    job = os.environ['SLURM_JOB_ID']
    if self._is_running:
      subprocess.call(['scancel', '--quiet', '--signal=TERM', job])
      if number != signal.SIGALRM:
        signal.alarm(10)  # Once more: the step may not have been there yet.


def main():
  """Runs the program until it is done, cannot be done, or is to end."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--max_restarts', type=int, default=20)
  parser.add_argument('program', nargs='+')
  arguments = parser.parse_args()
  asked = Asked()
  num_quick = 0
  for num_left in range(arguments.max_restarts, -1, -1):
    begin = time.monotonic()
    status = run_step(arguments.program, asked)
    say(f'the step ended with status {status}')
    if asked.is_ending or not is_again(status):
      break
    if not num_left:
      say(f'gave up after {arguments.max_restarts} restarts (--max_restarts)')
      break
    is_quick = time.monotonic() - begin < _QUICK_SECONDS
    num_quick = num_quick + 1 if is_quick else 0
    delay = min(2.0 ** max(num_quick - 1, 0), _MAX_DELAY_SECONDS)
    say(f'starting it again in {delay:g} s; {num_left - 1} restarts left')
    time.sleep(delay)
    if asked.is_ending:
      break
  is_torn = status == 0 or is_again(status)
  if is_torn and (asked.is_requeued or is_preempted()):
    return requeue()
  return status


def run_step(program, asked):
  """Runs the program on all nodes; returns the status that tells why it ended.

  srun itself ends with the highest status, which may be that of a task it
  killed because another had failed.
  """
  command = ['srun', '--kill-on-bad-exit=1', '--label']
  if 'SLURM_CPUS_PER_TASK' in os.environ:  # srun no longer takes it from there.
    command.append(f'--cpus-per-task={os.environ["SLURM_CPUS_PER_TASK"]}')
  step = subprocess.Popen(
      [*command, *program],
      stdin=subprocess.DEVNULL,
      stderr=subprocess.PIPE,
      env={**os.environ, 'PYTHONUNBUFFERED': '1'},
      start_new_session=True,  # Signals come to it by way of this script.
  )
  asked.watch(True)
  failures = []
  assert step.stderr is not None
  for line in step.stderr:
    sys.stderr.buffer.write(line)
    sys.stderr.buffer.flush()
    if _FAILED.match(line):
      failures.append(line)
  status = step.wait()
  asked.watch(False)
  status = _SIGNALS - status if status < 0 else status
  return cause(failures) if failures and status else status


def cause(failures):
  """Returns the status that tells why a step ended.

  The first failure, since srun then kills the other tasks. But it may be the
  effect of one that is reported later: 75 says so of itself, and jax aborts a
  task that has lost the first one. Then a status that is for good wins.

  Args:
    failures: what srun said of tasks that failed, in that order.
  """
  statuses = []
  for line in failures:
    exited = _EXITED.match(line)
    killed = _ABORTED if _BY_ABORT.match(line) else _KILLED
    statuses.append(int(exited[1]) if exited else killed)
  first, *later = statuses
  for_good = [status for status in later if not is_again(status)]
  return for_good[0] if for_good and first in (_AGAIN, _ABORTED) else first


def is_again(status):
  """Returns whether a step that ended so is to be started again."""
  return status == _AGAIN or status > _SIGNALS


def is_preempted():
  """Returns whether SLURM is about to give the nodes to another job.

  It tells the tasks by SIGTERM, and this script by nothing. If they save and
  end in time, it takes the job to be done.
  """
  command = ['scontrol', 'show', 'job', os.environ['SLURM_JOB_ID']]
  shown = subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout
  return re.search(rb'\bPreemptTime=\d', shown) is not None


def requeue():
  """Has SLURM queue this job again, with its number and its output."""
  job = os.environ['SLURM_JOB_ID']
  say(f'queueing job {job} again')
  signal.signal(signal.SIGTERM, signal.SIG_DFL)  # How SLURM ends this script.
  status = subprocess.call(['scontrol', 'requeue', job])
  time.sleep(0 if status else 60)
  return status


def say(message):
  """Tells the reader of the job's output something."""
  print(f'launch: {message}', file=sys.stderr, flush=True)


if __name__ == '__main__':
  sys.exit(main())
