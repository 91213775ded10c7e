import gc
import os
import shutil
import weakref

from absl.testing import absltest

from limaml_jax import errors
from limaml_jax.bundle import directory
from limaml_jax.serving import versions as versions_lib
from tests.serving import small_service


class VersionsTest(small_service.ServiceTestCase):

  def setUp(self):
    super().setUp()
    self.now = 0.0

  def open(self):
    return versions_lib.Versions(
        self.root, max_entities=2, clock=lambda: self.now
    )

  def hide(self):
    pointer = directory.pointer_path(self.root)
    return pointer.rename(self.root / 'hidden')

  def fingerprint(self, versions):
    return versions.current.bundle.manifest.fingerprint

  def corrupt(self, version):
    path = directory.version_path(self.root, version) / 'weights.npz'
    os.truncate(path, 100)

  def test_without_a_new_export_nothing_is_new(self):
    self.export(0)
    self.assertFalse(self.open().poll())

  def test_versions_are_found_by_their_model(self):
    for seed in (0, 1, 0):
      self.export(seed)
    versions = self.open()
    found = lambda name: versions.of(name).bundle.manifest.version
    self.assertEqual(found('model 0'), '00000003')
    self.assertEqual(found('model 1'), '00000002')
    self.assertIsNone(versions.of('model 2'))
    self.assertIsNone(versions.of(None))

  def test_a_corrupt_new_version_is_refused_once_and_the_old_goes_on(self):
    self.export(0)
    self.publish(0)
    service = self.serve()
    self.corrupt(self.export(1))
    with self.assertRaisesRegex(errors.InputError, 'weights.npz: corrupt'):
      service.versions.poll()
    self.assertFalse(service.versions.poll())
    self.assert_scored(self.ask(service), model=0, embeddings=0)
    self.export(1)
    self.publish(1)
    with self.assertLogs('limaml_jax', 'WARNING') as logs:
      self.assertTrue(service.versions.poll())
    self.assertIn('an older version is left out', logs.output[0])
    self.assert_scored(self.ask(service), model=1, embeddings=1)

  def test_a_pointer_that_is_gone_is_told_and_the_old_goes_on(self):
    self.export(0)
    versions = self.open()
    self.hide()
    with self.assertRaisesRegex(errors.InputError, 'no bundle is here'):
      versions.poll()
    self.assertEqual(self.fingerprint(versions), 'model 0')

  def test_a_pointer_that_stays_gone_is_told_once(self):
    self.export(0)
    versions = self.open()
    self.hide()
    with self.assertRaises(errors.InputError):
      versions.poll()
    for self.now in (1.0, 61.0):
      self.assertFalse(versions.poll())

  def test_a_pointer_that_goes_again_is_told_again(self):
    self.export(0)
    versions = self.open()
    for _ in range(2):
      hidden = self.hide()
      with self.assertRaises(errors.InputError):
        versions.poll()
      hidden.rename(directory.pointer_path(self.root))
      self.assertFalse(versions.poll())

  def refuse(self):
    """Returns versions that refused one, and the file that it lacks."""
    self.export(0)
    versions = self.open()
    version = self.export(1)
    path = directory.version_path(self.root, version) / 'weights.npz'
    hidden = path.rename(self.root / 'weights.npz')
    with self.assertRaisesRegex(errors.InputError, 'weights.npz: is missing'):
      versions.poll()
    return versions, path, hidden

  def test_a_refused_version_is_tried_again_after_a_minute(self):
    versions, path, hidden = self.refuse()
    hidden.rename(path)
    self.now = 59.0
    self.assertFalse(versions.poll())
    self.now = 60.0
    self.assertTrue(versions.poll())
    self.assertEqual(self.fingerprint(versions), 'model 1')

  def test_a_version_refused_again_is_told_when_the_reason_is_another(self):
    versions, path, _ = self.refuse()
    self.now = 60.0
    self.assertFalse(versions.poll())
    path.write_bytes(b'torn')
    self.now = 119.0  # A minute from the second refusal on.
    self.assertFalse(versions.poll())
    self.now = 120.0
    with self.assertRaisesRegex(errors.InputError, 'weights.npz: corrupt'):
      versions.poll()

  def test_a_version_that_was_pruned_is_let_go(self):
    self.export(0)
    versions = self.open()
    self.export(1)
    directory.prune(self.root, 1)
    self.assertTrue(versions.poll())
    self.assertIsNone(versions.of('model 0'))
    self.assertEqual(self.fingerprint(versions), 'model 1')

  def test_a_bundle_made_anew_is_read_anew(self):
    self.export(0)
    versions = self.open()
    shutil.rmtree(self.root)
    self.export(1)  # Version 00000001 again.
    self.assertTrue(versions.poll())
    self.assertEqual(self.fingerprint(versions), 'model 1')
    self.assertIsNone(versions.of('model 0'))

  def test_what_is_open_stays_so(self):
    self.export(0)
    versions = self.open()
    loaded = versions.current
    self.export(1)
    versions.poll()
    self.assertIs(versions.of('model 0'), loaded)

  def test_weights_alone_need_no_new_program(self):
    self.export(0)
    versions = self.open()
    first = versions.current.runner._program
    self.export(1)
    versions.poll()
    self.assertIs(versions.current.runner._program, first)

  def test_a_program_that_no_version_has_is_let_go(self):
    self.export(0)
    path = directory.version_path(self.root, '00000001')
    manifest = directory.read_manifest(self.root, '00000001')
    program = path / directory.PROGRAM
    # Another artefact of the same program: zeros after its end are no part.
    program.write_bytes(program.read_bytes() + bytes(64))
    manifest.checksums.update(directory.checksums(path))
    (path / directory.MANIFEST).write_text(manifest.to_json())
    versions = self.open()
    first = weakref.ref(versions.current.runner._program)
    self.export(1)
    directory.prune(self.root, 1)
    versions.poll()
    gc.collect()
    self.assertIsNone(first())
    self.assertEqual(self.fingerprint(versions), 'model 1')


if __name__ == '__main__':
  absltest.main()
