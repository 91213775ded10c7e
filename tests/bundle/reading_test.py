import dataclasses
import json
import os
import pathlib
import shutil
import time
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
from jax import export as jax_export
import jax.numpy as jnp
import numpy as np

from limaml_jax import errors
from limaml_jax.bundle import directory
from limaml_jax.bundle import manifest as manifest_lib
from limaml_jax.bundle import reading
from tests import drawn_bundle
from tests import small_bundle

_FILES = (
    'score.jaxexport', 'weights.npz', 'items/data.mdb', 'entities/data.mdb',
    # Of item_id, colors and city.
    'vocabularies/0000/data.mdb', 'vocabularies/0001/data.mdb',
    'vocabularies/0002/data.mdb',
)  # fmt: skip


class ReadingTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.made = pathlib.Path(cls.enter_temporary()) / 'bundle'
    drawn_bundle.write(cls.made, drawn_bundle.make_model())

  @classmethod
  def enter_temporary(cls):
    folder = absltest.get_default_test_tmpdir()
    path = pathlib.Path(folder) / f'reading_{os.getpid()}'
    cls.addClassCleanup(shutil.rmtree, path)
    path.mkdir(parents=True)
    return path

  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.create_tempdir().full_path) / 'bundle'
    shutil.copytree(self.made, self.root)
    self.path = directory.version_path(self.root, '00000001')

  def change_manifest(self, **changes):
    manifest = directory.read_manifest(self.root, '00000001')
    manifest = dataclasses.replace(manifest, **changes)
    (self.path / 'manifest.json').write_text(manifest.to_json())

  def replace(self, name, content):
    """Replaces a file, and vouches for it."""
    (self.path / name).write_bytes(content)
    self.change_manifest(checksums=directory.checksums(self.path))

  def assert_refused(self, message, place=None):
    with self.assertRaisesRegex(errors.InputError, message) as caught:
      reading.open_bundle(self.root)
    text = str(caught.exception)
    self.assertStartsWith(text, str(place or self.path))
    self.assertNotIn('\n', text)
    self.assertRegex(text, 'export|install|set JAX_PLATFORMS|readable')

  def test_all_is_read(self):
    bundle = reading.open_bundle(self.root)
    model = drawn_bundle.make_model()
    np.testing.assert_array_equal(bundle.default, model.default)
    self.assertEqual(bundle.manifest.fingerprint, 'model 0')
    self.assertEqual(bundle.columns.specs, tuple(model.half.specs))
    records, unknown = bundle.items.get(['i1', 'no'])
    self.assertEqual(unknown, 1)
    self.assertEqual(records['ids'][0, 0], 1)
    records, unknown = bundle.entities.get(['u0003', 'no'])
    self.assertEqual(unknown, 1)
    for name, tokens in small_bundle.vocabularies().items():
      rows = bundle.vocabularies[name].get([*tokens, 'no'])[0]['row'].tolist()
      self.assertEqual(rows, [*range(1, len(tokens) + 1), 0])

  def open_both(self, change=lambda manifest: {}):
    """Returns two versions, the second with changes of its manifest."""
    first = reading.open_bundle(self.root)
    version = drawn_bundle.write(self.root, drawn_bundle.make_model(1))
    self.path = directory.version_path(self.root, version)
    manifest = directory.read_manifest(self.root, version)
    manifest = dataclasses.replace(manifest, **change(manifest))
    (self.path / 'manifest.json').write_text(manifest.to_json())
    return first, reading.open_bundle(self.root)

  def test_versions_share_equal_tables(self):
    first, second = self.open_both()
    self.assertIsNot(first.weights, second.weights)
    self.assertIs(first.items, second.items)
    self.assertIs(first.entities, second.entities)
    self.assertEqual(first.vocabularies, second.vocabularies)

  def test_versions_share_no_table_whose_unknown_key_means_another(self):
    first, second = self.open_both(lambda manifest: {
        'features': tuple(
            dataclasses.replace(spec, kind='multi_hot', max_values=1)
            if spec.name == 'item_id' else spec
            for spec in manifest.features
        )
    })  # fmt: skip
    self.assertIsNot(first.items, second.items)
    self.assertIs(first.entities, second.entities)
    self.assertEqual(first.items.get(['no'])[0]['ids'][0, 0], 0)
    self.assertEqual(second.items.get(['no'])[0]['ids'][0, 0], -1)

  def test_the_version_exported_last_is_read_unless_one_is_named(self):
    drawn_bundle.write(self.root, drawn_bundle.make_model(1))
    newest = reading.open_bundle(self.root)
    self.assertEqual(newest.manifest.fingerprint, 'model 1')
    older = reading.open_bundle(self.root, '00000001')
    self.assertEqual(older.manifest.fingerprint, 'model 0')

  def test_all_files_have_checksums(self):
    manifest = directory.read_manifest(self.root, '00000001')
    self.assertCountEqual(manifest.checksums, _FILES)

  @parameterized.parameters(*_FILES)
  def test_a_missing_file_is_named(self, name):
    (self.path / name).unlink()
    self.assert_refused('is missing; export again', self.path / name)

  @parameterized.parameters(*_FILES)
  def test_a_flipped_byte_is_named(self, name):
    content = bytearray((self.path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (self.path / name).write_bytes(content)
    self.assert_refused('corrupt .*; export again', self.path / name)

  @parameterized.parameters(0.1, 0.35, 0.6, 0.85, 0.99)
  def test_a_flipped_byte_of_the_manifest_is_told(self, where):
    path = self.path / 'manifest.json'
    content = bytearray(path.read_bytes())
    position = int(where * len(content))
    while not chr(content[position]).isalnum():
      position -= 1
    content[position] ^= 1
    path.write_bytes(content)
    self.assert_refused('manifest.json: ', path)

  def test_no_bundle_and_no_version_are_told(self):
    (self.root / 'CURRENT').write_text('00000009')
    missing = directory.version_path(self.root, '00000009')
    self.assert_refused('unreadable .*export again', missing)
    (self.root / 'CURRENT').unlink()
    self.assert_refused('no bundle is here', self.root / 'CURRENT')

  def test_what_this_user_may_not_read_is_told(self):
    # Raised by hand: nothing is forbidden to root.
    error = PermissionError(13, 'Permission denied', str(self.path / 'x'))
    with mock.patch.object(directory, 'checksums', side_effect=error):
      self.assert_refused('unreadable .Permission denied.; make it readable')

  def test_an_older_jax_is_refused(self):
    self.change_manifest(jax_version='99.1.0')
    self.assert_refused(
        f'jax 99.1.0, which the older jax {jax.__version__} here cannot read;'
        f' install jax >= 99.1.0, or export with jax {jax.__version__}'
    )

  @parameterized.parameters('0.4.30', '0.10.1', '0.9.12')
  def test_a_newer_jax_reads_until_it_expires(self, version):
    self.change_manifest(jax_version=version)
    self.assertIsNotNone(reading.open_bundle(self.root))
    self.change_manifest(expires=int(time.time()) - 60)
    self.assert_refused(f'expired: exported by jax {version} .*on the same')

  def test_the_same_jax_reads_what_has_expired_and_warns(self):
    self.change_manifest(expires=int(time.time()) - 60)
    with self.assertLogs('limaml_jax', 'WARNING') as logs:
      reading.open_bundle(self.root)
    self.assertLen(logs.output, 1)
    self.assertIn('expired, and read only because jax is', logs.output[0])

  def test_what_has_not_expired_is_read_silently(self):
    with self.assertNoLogs('limaml_jax', 'WARNING'):
      reading.open_bundle(self.root)
    manifest = directory.read_manifest(self.root, '00000001')
    self.assertEqual(manifest.expires - manifest.created, 180 * 86400)

  @parameterized.parameters(b'', b'no artefact', b'\0' * 5000)
  def test_a_program_that_jax_cannot_read_is_told(self, content):
    self.replace('score.jaxexport', content)
    self.assert_refused(
        'jax .* cannot read what jax .* exported .*; export again',
        self.path / 'score.jaxexport',
    )

  @parameterized.parameters(b'', b'PK no archive', b'\x93NUMPY')
  def test_weights_that_numpy_cannot_read_are_told(self, content):
    self.replace('weights.npz', content)
    self.assert_refused('export again', self.path / 'weights.npz')

  def test_a_program_for_another_platform_is_refused(self):
    shape = jax.ShapeDtypeStruct((), jnp.float32)
    export = jax_export.export(jax.jit(jnp.sin), platforms=['tpu'])
    self.replace('score.jaxexport', bytes(export(shape).serialize()))
    self.assert_refused('exported for tpu, not for cpu; set JAX_PLATFORMS=tpu')

  def test_a_graphics_card_goes_by_the_name_that_programs_have(self):
    # What jax calls the back end 'gpu' of, programs call 'cuda'.
    with mock.patch.object(jax, 'default_backend', return_value='gpu'):
      with mock.patch.object(
          jax_export, 'default_export_platform', return_value='cuda'
      ):
        self.assertIsNotNone(reading.open_bundle(self.root))

  def test_a_table_of_another_size_is_refused(self):
    manifest = directory.read_manifest(self.root, '00000001')
    tables = manifest.tables
    self.change_manifest(tables=tables | {'items': tables['items'] + 1})
    self.assert_refused('corrupt .*export again', self.path / 'items')

  def test_manifest_is_plain_json(self):
    fields = json.loads((self.path / 'manifest.json').read_text())
    self.assertEqual(fields['format'], manifest_lib.FORMAT)
    self.assertEqual(fields['platforms'], ['cpu', 'cuda', 'tpu'])


if __name__ == '__main__':
  absltest.main()
