"""The daily job killed, with every back end; see `killed` for how often."""

import tempfile

from absl.testing import absltest

from tests.refresh import killed
from tests.store import redis_server


class LmdbTest(killed.KilledJobConformance):

  def make_address(self):
    return str(self.dir / 'store')


class RedisTest(killed.KilledJobConformance):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = tempfile.TemporaryDirectory()
    cls.addClassCleanup(folder.cleanup)
    cls.server = redis_server.Server(folder.name)
    cls.addClassCleanup(cls.server.kill)

  def make_address(self):
    return self.server.url


if __name__ == '__main__':
  absltest.main()
