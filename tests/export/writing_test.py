import dataclasses
import hashlib
import os
import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from limaml_jax import errors
from limaml_jax.bundle import directory
from limaml_jax.bundle import reading
from limaml_jax.export import program
from limaml_jax.export import writing
from limaml_jax.training import assembly as assembly_lib
from tests import drawn_bundle
from tests import small_bundle
from tests.training import small_run


def renamed(names):
  """Returns random parameters of a model whose features have other names."""
  _, info = small_bundle.make_data()
  specs = tuple(
      dataclasses.replace(spec, name=names.get(spec.name, spec.name))
      for spec in info.features
  )
  config = small_run.make_config()
  info = dataclasses.replace(info, features=specs)
  assembly = assembly_lib.assemble(config, info)
  params = assembly.model.init(jax.random.key(0))
  return program.GlobalHalf(
      params=params.global_block,
      tables=params.tables,
      specs=assembly.model.global_specs,
      layout=assembly.model.layout,
      config=config.model.global_block,
  )


class WritingTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.create_tempdir().full_path) / 'bundle'
    self.model = drawn_bundle.make_model()
    self.table, _, _ = drawn_bundle.parts()

  def write(self, **changes):
    arguments = {
        'items': small_bundle.items(self.table),
        'entities': writing.Known(
            self.table.entity_keys, self.table.entity_features
        ),
        'vocabularies': small_bundle.vocabularies(),
    } | changes
    return writing.write(
        self.root, self.model.half, self.model.facts(), **arguments
    )

  def vocabulary(self, name):
    names = [spec.name for spec in self.model.half.specs]
    return f'vocabularies/{names.index(name):04d}'

  def test_manifest_has_the_facts_of_the_model(self):
    manifest = self.write()
    self.assertEqual(manifest.version, '00000001')
    self.assertEqual(manifest.fingerprint, self.model.fingerprint)
    self.assertEqual(manifest.dimension, 4)
    np.testing.assert_array_equal(
        np.float32(manifest.default_embedding), self.model.default
    )
    self.assertEqual(manifest.jax_version, jax.__version__)
    self.assertEqual(manifest.features, tuple(self.model.half.specs))
    self.assertEqual(
        manifest, directory.read_manifest(self.root, manifest.version)
    )

  def test_tables_count_their_keys(self):
    num_items = len(small_bundle.items(self.table).keys)
    self.assertEqual(
        self.write().tables,
        {
            'items': num_items,
            'entities': 30,
            self.vocabulary('item_id'): 40,
            self.vocabulary('colors'): 4,
            self.vocabulary('city'): 3,
        },
    )

  def test_checksums_are_of_every_file_there_is(self):
    manifest = self.write()
    path = directory.version_path(self.root, manifest.version)
    files = {
        str(file.relative_to(path)): hashlib.sha256(
            file.read_bytes()
        ).hexdigest()
        for file in path.rglob('*')
        if file.is_file() and file.name != 'manifest.json'
    }
    self.assertEqual(manifest.checksums, files)
    self.assertLen(files, 7)

  def test_weights_are_those_of_the_model(self):
    self.write()
    bundle = reading.open_bundle(self.root)
    weights = program.flatten(self.model.half)
    self.assertCountEqual(bundle.weights, weights)
    for name, array in weights.items():
      np.testing.assert_array_equal(bundle.weights[name], array)

  def test_what_is_known_of_each_key_is_kept(self):
    self.write()
    bundle = reading.open_bundle(self.root)
    items = small_bundle.items(self.table)
    for known, owner, kept in (
        (items, 'item', bundle.items),
        (
            writing.Known(self.table.entity_keys, self.table.entity_features),
            'entity',
            bundle.entities,
        ),
    ):
      count = len(known.keys)
      records, unknown = kept.get(known.keys.tolist())
      self.assertEqual(unknown, 0)
      expected = bundle.columns.pack(owner, known.features, count)
      np.testing.assert_array_equal(records, expected)
      self.assertGreater(len(np.unique(records)), 3)

  @parameterized.parameters(
      ('city', None), ('city', ['Rome']), ('city', ['a', 'b', 'c', 'd']),
      ('item_id', []), ('colors', None),
  )  # fmt: skip
  def test_a_vocabulary_not_of_the_model_is_refused(self, name, tokens):
    self.write()
    vocabularies = small_bundle.vocabularies()
    del vocabularies[name]
    if tokens is not None:
      vocabularies[name] = tokens
    with self.assertRaisesRegex(errors.InputError, f"'{name}': its vocabulary"):
      self.write(vocabularies=vocabularies)
    self.assertEqual(directory.current(self.root), '00000001')
    self.assertEqual(directory.versions(self.root), ['00000001'])

  def test_without_items_and_entities_there_are_no_tables(self):
    nobody = writing.Known(np.asarray([], str), {})
    manifest = self.write(items=nobody, entities=nobody)
    self.assertNotIn('items', manifest.tables)
    bundle = reading.open_bundle(self.root)
    self.assertIsNone(bundle.items)
    self.assertIsNone(bundle.entities)

  def test_an_item_that_comes_twice_is_named(self):
    twice = writing.Known(np.asarray(['i1', 'i1']), {})
    with self.assertRaisesRegex(errors.InputError, "items: key 'i1': comes tw"):
      self.write(items=twice)

  def test_a_hashed_feature_needs_no_vocabulary(self):
    self.assertNotIn(self.vocabulary('page'), self.write().tables)

  @parameterized.parameters('a/b', 'b', '../../x', '..', '/tmp/x', 'ä' * 200)
  def test_a_feature_may_have_any_name(self, name):
    model = renamed({'city': name, 'colors': 'x/b'})
    cities, colors = small_bundle.CITIES, small_bundle.COLORS
    vocabularies = small_bundle.vocabularies() | {name: cities, 'x/b': colors}
    nobody = writing.Known(np.asarray([], str), {})
    writing.write(
        self.root, model, self.model.facts(), items=nobody, entities=nobody,
        vocabularies=vocabularies,
    )  # fmt: skip
    self.assertEqual(os.listdir(self.root.parent), ['bundle'])
    read = reading.open_bundle(self.root).vocabularies
    self.assertEqual(read[name].get(cities)[0]['row'].tolist(), [1, 2, 3])
    self.assertEqual(read['x/b'].get(colors)[0]['row'].tolist(), [1, 2, 3, 4])

  @parameterized.parameters('entity', 'candidates', 'num_candidates')
  def test_a_feature_named_as_a_tensor_of_requests_is_refused(self, name):
    with self.assertRaisesRegex(
        errors.InputError, f"^feature '{name}': .*; rename it"
    ):
      writing.write(
          self.root, renamed({'city': name}), self.model.facts(),
          items=writing.Known(np.asarray([], str), {}),
          entities=writing.Known(np.asarray([], str), {}),
          vocabularies=small_bundle.vocabularies(),
      )  # fmt: skip
    self.assertFalse(self.root.exists())


if __name__ == '__main__':
  absltest.main()
