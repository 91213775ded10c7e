import dataclasses
import json

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax import errors
from limaml_jax.store import manifest as manifest_lib

PATH = 'store/user/snapshots/00000003/manifest.json'
MANIFEST = manifest_lib.Manifest(
    version='00000003',
    entity_type='user',
    fingerprint='model',
    dimension=2,
    dtype='float16',
    count=5,
    cutoff=100,
    watermark=90,
    created=110,
    default_embedding=(0.5, -1.0),
    generator={'chunks': 3},
    checksum='a' * 64,
    data_checksum='b' * 64,
)


class ManifestTest(parameterized.TestCase):

  def test_json_round_trip(self):
    text = manifest_lib.to_json(MANIFEST)
    self.assertEqual(manifest_lib.from_json(text, PATH), MANIFEST)

  def test_default_embedding_keeps_its_bits(self):
    numbers = np.array([0.1, 1e-40], np.float32)  # Inexact, and denormal.
    manifest = dataclasses.replace(
        MANIFEST, default_embedding=tuple(numbers.tolist())
    )
    read = manifest_lib.from_json(manifest_lib.to_json(manifest), PATH)
    np.testing.assert_array_equal(
        np.array(read.default_embedding, np.float32), numbers
    )

  def test_numpy_integers_are_integers(self):
    manifest = dataclasses.replace(MANIFEST, cutoff=np.int64(100))
    read = manifest_lib.from_json(manifest_lib.to_json(manifest), PATH)
    self.assertIs(type(read.cutoff), int)

  @parameterized.parameters(
      ('version', '3'),
      ('version', '../00000003'),
      ('entity_type', 7),
      ('fingerprint', ''),
      ('dimension', 0),
      ('dimension', 2.0),
      ('dtype', 'int4'),
      ('generator', []),
      ('count', -1),
      ('count', True),
      ('cutoff', '100'),
      ('watermark', -2),
      ('created', None),
      ('default_embedding', [0.5]),
      ('default_embedding', [0.5, float('nan')]),
      ('default_embedding', [0.5, '1']),
      ('default_embedding', {'0': 0.5}),
      ('default_embedding', 7),
      ('checksum', 'a' * 63),
      ('checksum', 'a' * 65),
      ('data_checksum', 'G' * 64),
  )
  def test_wrong_field_is_named(self, name, value):
    fields = json.loads(manifest_lib.to_json(MANIFEST)) | {name: value}
    with self.assertRaisesRegex(
        errors.InputError, f'^{PATH}: field {name!r}.*write the snapshot again'
    ):
      manifest_lib.from_json(json.dumps(fields), PATH)

  @parameterized.parameters(
      ('{"version": "0000', 'not JSON'),
      ('[]', 'not a JSON object'),
      ('{}', "'checksum' is missing"),
  )
  def test_torn_text(self, text, message):
    with self.assertRaisesRegex(errors.InputError, f'^{PATH}: .*{message}'):
      manifest_lib.from_json(text, PATH)

  def test_unknown_field(self):
    fields = json.loads(manifest_lib.to_json(MANIFEST)) | {'scale': 1}
    with self.assertRaisesRegex(errors.InputError, "'scale' is unknown"):
      manifest_lib.from_json(json.dumps(fields), PATH)

  @parameterized.parameters(
      ('user', '00000004', "'version'"), ('item', '00000003', "'entity_type'")
  )
  def test_manifest_of_another_place(self, entity_type, version, field):
    with self.assertRaisesRegex(errors.InputError, f'^{PATH}: field {field}'):
      manifest_lib.check_place(MANIFEST, entity_type, version, PATH)


if __name__ == '__main__':
  absltest.main()
