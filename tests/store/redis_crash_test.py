"""Processes that write to a Redis, and are killed."""

import tempfile
import threading

from absl.testing import absltest

from limaml_jax.store import address
from limaml_jax.store import lookup
from limaml_jax.store import snapshot
from tests.store import crashes
from tests.store import redis_server
from tests.store import stamped


class RedisCrashTest(crashes.CrashConformance):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = tempfile.TemporaryDirectory()
    cls.addClassCleanup(folder.cleanup)
    cls.server = redis_server.Server(folder.name)
    cls.addClassCleanup(cls.server.kill)

  def setUp(self):
    super().setUp()
    self.server.admin().flushall()
    self.where = self.server.url
    self.store = address.open_backend(self.where)

  def test_writer_killed_halfway(self):
    self.start_from(stamped.write(self.store).version)
    writer = self.start('pause')
    self.assertEqual(writer.stdout.readline(), 'halfway\n')
    crashes.kill(writer)
    admin = self.server.admin()
    left = admin.keys('*unfinished*') + admin.keys('*steps*')
    self.assertLen(left, 2)
    for key in left:
      self.assertBetween(admin.ttl(key), 80_000, 86_400)  # It goes by itself.
    self.assertEqual(self.store.versions('user'), ['00000001'])
    self.assert_recovers(at_least=1)

  def test_two_processes_write_two_versions(self):
    writer = self.start('pause')
    self.assertEqual(writer.stdout.readline(), 'halfway\n')
    self.assertEqual(stamped.write(self.store).version, '00000001')
    writer.communicate(timeout=crashes.PATIENCE_SECONDS)  # Lets it finish.
    self.assertEqual(writer.returncode, 0)
    self.assertEqual(self.store.versions('user'), ['00000001', '00000002'])
    for version, count in (('00000001', 500), ('00000002', 250)):
      self.assertEqual(
          snapshot.verify(self.store, 'user', version).count, count
      )

  def test_prune_does_not_disturb_readers(self):
    self.start_from(stamped.write(self.store).version)
    done = threading.Event()
    wrong = []

    def look_up():
      with lookup.Reader(self.where, 'user') as reader:
        while not done.is_set():
          answer = reader.lookup(stamped.KEYS)
          if (answer.vectors != int(answer.version)).any():
            wrong.append(answer)

    readers = [threading.Thread(target=look_up) for _ in range(2)]
    for reader in readers:
      reader.start()
    for _ in range(20):
      version = stamped.write(self.store).version
      snapshot.publish(self.store, 'user', version)
      snapshot.prune(self.store, 'user', keep=1)
    alive = [reader.is_alive() for reader in readers]
    done.set()
    for reader in readers:
      reader.join()
    self.assertEqual(alive, [True, True])
    self.assertEmpty(wrong)
    self.assertEqual(self.store.versions('user'), ['00000021'])


if __name__ == '__main__':
  absltest.main()
