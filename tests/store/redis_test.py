"""Redis as a back end, against real servers."""

import tempfile

from absl.testing import absltest

from limaml_jax.store import address
from tests.store import conformance
from tests.store import redis_server


class RedisTest(conformance.StoreTest):
  """Gives each test an empty store on a server that the class shares."""

  options = {}

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = tempfile.TemporaryDirectory()
    cls.addClassCleanup(folder.cleanup)
    cls.server = redis_server.Server(folder.name, **cls.options)
    cls.addClassCleanup(cls.server.kill)

  def make_store(self):
    self.admin = self.server.admin()
    self.addCleanup(self.admin.close)
    self.admin.flushall()
    return address.open_backend(self.server.url)


class RedisSnapshotTest(RedisTest, conformance.SnapshotConformance):

  def assert_nothing_left(self):
    self.assertEqual(self.admin.keys(), [])


class RedisLookupTest(RedisTest, conformance.LookupConformance):
  pass


class ClusterSnapshotTest(RedisSnapshotTest):
  options = {'cluster': True}


class ClusterLookupTest(RedisLookupTest):
  options = {'cluster': True}


if __name__ == '__main__':
  absltest.main()
