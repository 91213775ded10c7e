"""Keeps the processes of one cluster running on this machine.

They live and die together: when one dies, the others cannot go on, so all are
ended and started again, from their checkpoint. Nothing outlives the launcher.
"""

from collections.abc import Callable
from collections.abc import Sequence
import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from typing import IO
from typing import BinaryIO
from typing import NamedTuple

from launch import job as job_lib
from launch.messages import say

_QUICK_SECONDS = 60.0  # A cluster that died earlier than this gained little.
_TICK_SECONDS = 0.05
_CHUNK_BYTES = 1 << 16
_PR_SET_PDEATHSIG = 1  # prctl(2), of Linux.
_LIBC = ctypes.CDLL(None) if sys.platform == 'linux' else None


class Policy(NamedTuple):
  """When to start again.

  Attributes:
    max_restarts: how often, before it gives up.
    grace_seconds: for the others to end by themselves, once one has failed.
    delay_seconds: before a restart; doubled by each quick death in succession.
    max_delay_seconds: the longest delay.
  """

  max_restarts: int = 20
  grace_seconds: float = 10.0
  delay_seconds: float = 1.0
  max_delay_seconds: float = 60.0


class Stop:
  """Notes signals that ask the launcher to end."""

  def __init__(self):
    self.count = 0
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
      is_nohup = signal.getsignal(number) == signal.SIG_IGN
      if number != signal.SIGHUP or not is_nohup:
        signal.signal(number, self._note)

  def _note(self, number, frame):
    del number, frame
    self.count += 1


class _Stream(NamedTuple):
  """Where the lines of one pipe go."""

  pipe: IO[bytes]
  target: BinaryIO
  prefix: bytes
  rest: bytearray  # Of a line whose end has not come.


class Cluster:
  """One attempt: the processes, and their output."""

  def __init__(self, commands: Sequence[job_lib.Command]):
    self._selector = selectors.DefaultSelector()
    self._ended: dict[int, int] = {}  # Status by index, in order of ending.
    self.processes = []
    try:
      for index, command in enumerate(commands):
        self.processes.append(self._start(index, command))
    except BaseException:
      self.close()
      raise

  @property
  def statuses(self) -> list[int]:
    """Statuses of those that have ended, in that order."""
    return list(self._ended.values())

  @property
  def is_running(self) -> bool:
    """Whether any process has not ended."""
    return len(self._ended) < len(self.processes)

  @property
  def has_failed(self) -> bool:
    """Whether any process has ended other than by being done."""
    return any(self._ended.values())

  def wait_a_bit(self) -> None:
    """Passes on output, and notes who has ended, for one tick at most."""
    for key, _ in self._selector.select(_TICK_SECONDS):
      self._pass_on(key.data)
    if not self._selector.get_map():
      time.sleep(_TICK_SECONDS)
    for index, process in enumerate(self.processes):
      status = process.poll()
      if status is not None and index not in self._ended:
        self._ended[index] = status
        _kill_group(process.pid)  # At once: its number may be given away.
        if status != job_lib.DONE:
          say(f'process {index} {describe(status)}')

  def send(self, number: int) -> None:
    """Sends a signal to each process that has not ended."""
    for process in self.processes:
      process.send_signal(number)

  def close(self) -> None:
    """Kills all that is left, children of processes included."""
    for index, process in enumerate(self.processes):
      if index not in self._ended:
        _kill_group(process.pid)
        process.wait()
    for key in list(self._selector.get_map().values()):
      while self._pass_on(key.data):
        pass
    self._selector.close()

  def _start(self, index, command):
    parent = os.getpid()
    process = subprocess.Popen(
        command.argv,
        env={**os.environ, **dict(command.environment)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the launcher, which tells them.
        preexec_fn=lambda: _die_with(parent),  # There are no threads here.
    )
    assert process.stdout is not None and process.stderr is not None
    prefix = f'[{index}] '.encode()
    for pipe, target in (
        (process.stdout, sys.stdout.buffer),
        (process.stderr, sys.stderr.buffer),
    ):
      os.set_blocking(pipe.fileno(), False)
      stream = _Stream(pipe, target, prefix, bytearray())
      self._selector.register(pipe, selectors.EVENT_READ, stream)
    return process

  def _pass_on(self, stream: _Stream) -> bool:
    """Prints whole lines of what is there; returns whether there was any."""
    try:
      chunk = os.read(stream.pipe.fileno(), _CHUNK_BYTES)
    except BlockingIOError:
      return False
    stream.rest.extend(chunk)
    *lines, rest = bytes(stream.rest).split(b'\n')
    if not chunk:
      self._selector.unregister(stream.pipe)
      stream.pipe.close()
    if rest and (not chunk or len(rest) > _CHUNK_BYTES):
      lines, rest = [*lines, rest], b''
    stream.rest[:] = rest
    if lines:
      stream.target.write(b''.join(stream.prefix + b + b'\n' for b in lines))
      stream.target.flush()
    return bool(chunk)


def run(
    make_commands: Callable[[], Sequence[job_lib.Command]], policy: Policy
) -> int:
  """Runs a cluster until it is done, cannot be done, or is to stop.

  Args:
    make_commands: returns what its processes run; called for every start.
    policy: when to start again.

  Returns:
    The status to exit with.
  """
  stop = Stop()
  num_quick = 0
  for num_left in range(policy.max_restarts, -1, -1):
    begin = time.monotonic()
    status = run_once(make_commands(), stop, policy)
    if stop.count or not job_lib.is_again(status):
      return job_lib.exit_status(status)
    if not num_left:
      break
    is_quick = time.monotonic() - begin < _QUICK_SECONDS
    num_quick = num_quick + 1 if is_quick else 0
    seconds = delay(policy, num_quick)
    left = f'{num_left - 1} restarts left' if num_left > 1 else 'the last time'
    say(f'starting all again in {seconds:g} s; {left}')
    if not _sleep(seconds, stop):
      return job_lib.exit_status(-signal.SIGTERM)
  say(f'gave up after {policy.max_restarts} restarts (--max_restarts)')
  return job_lib.exit_status(status)


def run_once(
    commands: Sequence[job_lib.Command], stop: Stop, policy: Policy
) -> int:
  """Runs a cluster to its end; returns why it ended, as `job.verdict`."""
  cluster = Cluster(commands)
  deadline = None
  num_passed = 0
  try:
    while cluster.is_running:
      cluster.wait_a_bit()
      if stop.count > num_passed:
        num_passed = stop.count
        if num_passed > 1:
          say('asked to stop twice: killing all')
          break
        say('asked to stop: waiting for all to save; once more kills them')
        cluster.send(signal.SIGTERM)
      if cluster.has_failed and deadline is None:
        deadline = time.monotonic() + policy.grace_seconds
      if deadline is not None and time.monotonic() > deadline:
        say('killing those that are left')
        break
  finally:
    cluster.close()
  is_cut = cluster.is_running and not cluster.has_failed
  return -signal.SIGKILL if is_cut else job_lib.verdict(cluster.statuses)


def delay(policy: Policy, num_quick: int) -> float:
  """Returns how long to wait after so many quick deaths in succession."""
  seconds = policy.delay_seconds * 2 ** max(num_quick - 1, 0)
  return min(seconds, policy.max_delay_seconds)


def describe(status: int) -> str:
  """Returns how a process ended, in words."""
  if status >= 0:
    return f'ended with status {status}'
  try:
    return f'died by {signal.Signals(-status).name}'
  except ValueError:  # One of the real-time signals.
    return f'died by signal {-status}'


def _sleep(seconds: float, stop: Stop) -> bool:
  """Returns whether it slept so long, and was not asked to stop."""
  deadline = time.monotonic() + seconds
  while not stop.count and time.monotonic() < deadline:
    time.sleep(_TICK_SECONDS)
  return not stop.count


def _kill_group(pid: int) -> None:
  try:
    os.killpg(pid, signal.SIGKILL)
  except (ProcessLookupError, PermissionError):
    pass  # Nobody is left; macOS refuses to signal the dead.


def _die_with(parent: int) -> None:
  """Has the kernel kill this process, a child, when its parent dies."""
  if _LIBC is not None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # It died before.
      os._exit(1)
