"""Surroundings of a server that is soaked: its Redis, and its publisher."""

import contextlib
import pathlib
import shutil
import socket
import subprocess
import sys
import time

from limaml_jax import errors


class Redis:
  """A Redis that can be started again, and remembers."""

  def __init__(self, directory: pathlib.Path):
    """Chooses its port; it is not started yet.

    Args:
      directory: where it keeps what it holds.
    """
    self._directory = directory
    with socket.create_server(('127.0.0.1', 0)) as free:
      self._port = free.getsockname()[1]
    self.address = f'redis://127.0.0.1:{self._port}/0'
    self._process: subprocess.Popen | None = None

  def start(self) -> None:
    """Starts it, and waits until it answers.

    Raises:
      InputError: if there is none, or it does not answer.
    """
    program = shutil.which('redis-server')
    if program is None:
      raise errors.InputError('soak: needs redis-server on PATH; install it')
    self._process = subprocess.Popen(
        [program, '--port', str(self._port), '--dir', str(self._directory),
         '--save', '86400', '1', '--bind', '127.0.0.1'],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up and self._process.poll() is None:
      with contextlib.suppress(OSError):
        socket.create_connection(('127.0.0.1', self._port), 1).close()
        return
      time.sleep(0.05)
    raise errors.InputError('soak: redis-server does not answer')

  def stop(self) -> None:
    """Shuts it down; what it holds is on disk then."""
    if self._process is not None:
      self._process.terminate()
      self._process.wait()


class Publisher:
  """The process of `publisher`, which leaves the server the cores."""

  def __init__(self, *arguments: str):
    """Starts it, and waits for its first snapshot.

    Args:
      *arguments: of its command.

    Raises:
      InputError: if it ends without one.
    """
    self._has_ended_early = False
    self._process = subprocess.Popen(
        ['nice', '-n', '19', sys.executable, '-m',
         'experiments.benchmark.publisher', *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    if not self._process.stdout.readline():  # pyrefly: ignore
      self._process.communicate()
      raise errors.InputError('soak: the publisher ended; see above')

  def tell(self) -> None:
    """Sends it a line: the first makes it go on, each other one export."""
    with contextlib.suppress(BrokenPipeError):  # Which `is_running` tells.
      self._process.stdin.write(b'\n')  # pyrefly: ignore
      self._process.stdin.flush()  # pyrefly: ignore

  def is_running(self) -> bool:
    """Returns whether it still publishes."""
    return self._process.poll() is None

  def end(self) -> tuple[bool, list[str]]:
    """Ends it; returns whether it ran until now, and all that it did."""
    was_running = self.is_running()
    try:
      output, _ = self._process.communicate(timeout=600)  # Ends its input.
    finally:
      self._process.kill()
    is_well = was_running and self._process.returncode == 0
    return is_well, output.decode().splitlines()
