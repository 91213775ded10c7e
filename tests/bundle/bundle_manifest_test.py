import dataclasses
import json
import math

from absl.testing import absltest
from absl.testing import parameterized

from limaml_jax import errors
from limaml_jax import types
from limaml_jax.bundle import manifest as manifest_lib

_MANIFEST = manifest_lib.Manifest(
    format=manifest_lib.FORMAT,
    version='00000007',
    entity_type='user',
    item_feature='item_id',
    entity_feature='user_id',
    features=(
        types.FeatureSpec(
            'hour', 'bucketized', 'context', 'global', 3,
            boundaries=(0.1, 18.0),
        ),
        types.FeatureSpec('prix é', 'numeric', 'item', 'global', mean=1 / 3),
    ),
    fingerprint='abc',
    dimension=2,
    default_embedding=(0.1, -2.5e-8),
    max_age_seconds=0,
    tables={'items': 3},
    jax_version='0.10.2',
    platforms=('cpu',),
    created=10,
    expires=20,
    checksums={'weights.npz': 'f' * 64},
)  # fmt: skip


def edited(**changes):
  """Returns the JSON of a manifest of which somebody changed fields."""
  return json.dumps(json.loads(_MANIFEST.to_json()) | changes)


def without(name):
  fields = json.loads(_MANIFEST.to_json())
  del fields[name]
  return json.dumps(fields)


class ManifestTest(parameterized.TestCase):

  def assert_refused(self, text, message):
    with self.assertRaisesRegex(errors.InputError, message) as caught:
      manifest_lib.from_json(text, 'PLACE')
    self.assertStartsWith(str(caught.exception), 'PLACE: ')
    self.assertEndsWith(
        str(caught.exception), 'run `python -m experiments.export` again'
    )

  def test_what_is_written_is_read(self):
    read = manifest_lib.from_json(_MANIFEST.to_json(), 'PLACE')
    self.assertEqual(read, _MANIFEST)

  @parameterized.parameters(
      ('format', True, "field 'format'"),
      ('format', 1, "field 'format' is 1, this library reads 2"),
      ('version', 7, "'version' is '7'; it must be a text"),
      ('entity_type', '', "'entity_type'.*a text"),
      ('item_feature', None, "'item_feature'.*a text"),
      ('entity_feature', [], "'entity_feature'.*a text"),
      ('features', {}, "'features'.*a list of objects"),
      ('features', ['hour'], "'features'.*a list of objects"),
      ('fingerprint', 1, "'fingerprint'.*a text"),
      ('dimension', -1, "'dimension'.*integer, 0 or more"),
      ('dimension', True, "'dimension'.*integer, 0 or more"),
      ('dimension', 2.0, "'dimension'.*integer, 0 or more"),
      ('default_embedding', 1.0, "'default_embedding'.*list of finite"),
      ('default_embedding', ['1', 2], "'default_embedding'.*list of finite"),
      ('default_embedding', [math.nan, 2], "'default_embedding'.*finite"),
      ('max_age_seconds', 1.5, "'max_age_seconds'.*integer"),
      ('tables', [], "'tables'.*object of integers"),
      ('tables', {'items': '3'}, "'tables'.*object of integers"),
      ('jax_version', 10, "'jax_version'.*a text"),
      ('platforms', 'cpu', "'platforms'.*a list of texts"),
      ('created', -1, "'created'.*integer"),
      ('expires', '20', "'expires'.*integer"),
      ('checksums', {'a': None}, "'checksums'.*an object of texts"),
      ('checksum', 5, "'checksum'.*a text"),
      ('color', 'red', "field 'color' is unknown"),
  )
  def test_a_wrong_field_is_named(self, name, value, message):
    self.assert_refused(edited(**{name: value}), message)

  @parameterized.parameters(
      *(field.name for field in dataclasses.fields(manifest_lib.Manifest)),
      'checksum',
  )
  def test_a_missing_field_is_named(self, name):
    self.assert_refused(without(name), f"field '{name}' is (missing|None)")

  @parameterized.parameters(
      ('default_embedding', [0.1, -2.4e-8]),
      ('fingerprint', 'abd'),
      ('expires', 21),
      ('tables', {'items': 4}),
  )
  def test_a_plausible_change_is_corruption(self, name, value):
    self.assert_refused(edited(**{name: value}), 'corrupt')

  @parameterized.parameters(
      ('', 'not JSON'), ('{"format": 1', 'not JSON'), ('[]', 'not a JSON obj')
  )
  def test_a_torn_text_is_refused(self, text, message):
    self.assert_refused(text, message)

  def test_a_feature_of_another_version_is_told(self):
    strange = dataclasses.replace(_MANIFEST)
    fields = json.loads(strange.to_json())
    for broken in ({'name': 'a'}, fields['features'][0] | {'smell': 1}):
      with self.subTest(broken):
        fields['features'] = [broken]
        fields.pop('checksum', None)
        text = json.dumps(fields | {'checksum': manifest_lib._checksum(fields)})
        self.assert_refused(text, "'features' holds a feature of another")

  def test_dimension_counts_the_default_embedding(self):
    wrong = dataclasses.replace(_MANIFEST, dimension=3)
    self.assert_refused(
        wrong.to_json(), "'default_embedding' has 2 numbers.*'dimension' says 3"
    )


if __name__ == '__main__':
  absltest.main()
