import pathlib

from absl.testing import absltest

from limaml_jax import errors
from limaml_jax.store import address
from tests.store import crashes
from tests.store import stamped


class CrashTest(crashes.CrashConformance):

  def setUp(self):
    super().setUp()
    self.where = self.create_tempdir().full_path
    self.store = address.open_backend(self.where)

  def test_writer_killed_halfway(self):
    self.start_from(stamped.write(self.store).version)
    writer = self.start('pause')
    self.assertEqual(writer.stdout.readline(), 'halfway\n')
    crashes.kill(writer)
    snapshots = pathlib.Path(self.where) / 'user' / 'snapshots'
    unfinished = snapshots / '.unfinished' / 'data.mdb'
    self.assertTrue(unfinished.exists())
    self.assertEqual(self.store.versions('user'), ['00000001'])
    self.assert_recovers(at_least=1)
    self.assertFalse(unfinished.parent.exists())

  def test_second_writer_is_refused(self):
    writer = self.start('pause')
    self.assertEqual(writer.stdout.readline(), 'halfway\n')
    with self.assertRaisesRegex(errors.InputError, 'another process'):
      stamped.write(self.store)
    writer.communicate(timeout=crashes.PATIENCE_SECONDS)  # Lets it finish.
    self.assertEqual(writer.returncode, 0)
    self.assertEqual(stamped.write(self.store).version, '00000002')


if __name__ == '__main__':
  absltest.main()
