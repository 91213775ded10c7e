"""Redis servers for tests: real ones, each with a folder of its own."""

import pathlib
import shutil
import signal
import subprocess
import time
import unittest

import redis

from tests import ports

_BINARY = shutil.which('redis-server')
_PATIENCE_SECONDS = 30  # Before a test calls a server that is not up broken.
_CLUSTER = {
    'cluster-enabled': 'yes',
    'cluster-require-full-coverage': 'no',
}


class Server:
  """A redis-server without persistence, on a socket and perhaps a port."""

  def __init__(self, folder, *, cluster=False, port=False, **options):
    """Starts it.

    Args:
      folder: that is its own; short, as a socket's path must be.
      cluster: makes it the only node of a cluster.
      port: makes it listen on a free port of this machine, too.
      **options: of its configuration; '_' stands for '-'.
    """
    if _BINARY is None:
      raise unittest.SkipTest(
          'no redis-server on PATH; see launch/redis.sh: REDIS IS NOT TESTED'
      )
    self.folder = pathlib.Path(folder)
    self.path = self.folder / 's'
    self.port = ports.free_ports(1)[0] if port or cluster else 0
    self.url = f'unix://{self.path}'
    self.tcp_url = f'redis://127.0.0.1:{self.port}/0'
    self._options = {
        'save': '',
        'bind': '127.0.0.1',
        'port': str(self.port),
        'unixsocket': str(self.path),
        'dir': str(self.folder),
        **(_CLUSTER if cluster else {}),
        **{name.replace('_', '-'): value for name, value in options.items()},
    }
    if cluster:
      self._options['cluster-port'] = str(ports.free_ports(1)[0])
    self._process = None
    self.start()
    if cluster:
      self.admin().execute_command('CLUSTER', 'ADDSLOTSRANGE', 0, 16383)
      self._wait_until(self._cluster_is_up)

  def start(self):
    """Starts it, and waits until it answers, if only with a refusal."""
    arguments = []
    for name, value in self._options.items():
      arguments += [f'--{name}', value]
    self._process = subprocess.Popen(
        [_BINARY, *arguments],
        stdout=open(self.folder / 'log', 'ab'),
        stderr=subprocess.STDOUT,
    )
    self._wait_until(self._answers)

  def kill(self):
    """Ends it as a lost machine does; may be called twice."""
    self._process.kill()  # Works on one that is stopped, too.
    self._process.wait()
    self.path.unlink(missing_ok=True)

  def freeze(self):
    self._process.send_signal(signal.SIGSTOP)

  def thaw(self):
    self._process.send_signal(signal.SIGCONT)

  def admin(self, **options):
    """Returns a client."""
    return redis.Redis(unix_socket_path=str(self.path), protocol=2, **options)

  def _answers(self):
    if self._process.poll() is not None:
      log = (self.folder / 'log').read_text()
      raise AssertionError(f'redis-server ended: {log[-500:]}')
    try:
      return self.admin(retry=None).ping()
    except (redis.AuthenticationError, redis.ResponseError):
      return True
    except redis.ConnectionError:
      return False

  def _cluster_is_up(self):
    return self.admin().cluster('info')['cluster_state'] == 'ok'

  def _wait_until(self, is_so):
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
      if time.monotonic() > give_up:
        raise AssertionError('redis-server does not come up')
      time.sleep(0.02)
