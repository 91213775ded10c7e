"""Scores of a bundle against those of the model that it was made of."""

import math
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments import bundle_input
from experiments import pipeline
from experiments import scoring
from limaml_jax import cells
from limaml_jax import errors
from limaml_jax import types
from limaml_jax.bundle import key_table
from limaml_jax.bundle import reading
from limaml_jax.serving import features
from limaml_jax.serving import request as request_lib
from limaml_jax.store import lookup
from tests import small_bundle
from tests import synthetic

_CANDIDATES = ['i3', 'i5', 'boat']  # Nobody knows the last.


class ScoreTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    directory = tempfile.TemporaryDirectory()
    cls.addClassCleanup(directory.cleanup)
    cls.made = small_bundle.make(directory.name)
    small_bundle.write_settings(cls.made, (1, 2, 3))
    cls.service = bundle_input.open_service(
        cls.made.root, bundle_input.read_settings(cls.made.root), max_rows=3
    )
    cls.addClassCleanup(cls.service.close)

  def score(self, entity='u0001', **context):
    pairs = [
        f'{name}={value}'
        for name, values in context.items()
        for value in (values if isinstance(values, tuple) else (values,))
    ]
    return scoring.score(
        self.service, entity, _CANDIDATES, scoring.parse_context(pairs)
    )

  def expected(self, entity='u0001', **changes):
    """Returns what the model itself says of encoded features."""
    line = self.made.line
    keys, of_items = small_bundle.items(line.table)
    raw = {}
    for spec in line.assembly.model.global_specs:
      shape = (3, spec.max_values) if spec.max_values else (3,)
      empty = math.nan if spec.kind == 'numeric' else -(spec.max_values > 0)
      raw[spec.name] = np.full(
          shape, empty, np.float32 if spec.kind == 'numeric' else np.int32
      )
      if spec.name in of_items:
        for row, key in enumerate(_CANDIDATES[:2]):
          (where,) = np.flatnonzero(keys == key)
          raw[spec.name][row] = of_items[spec.name][where]
      elif spec.name in line.table.entity_features and entity in self.made.keys:
        values = line.table.entity_features[spec.name]
        raw[spec.name][:] = values[self.made.keys.index(entity)]
    for name, value in changes.items():
      raw[name][:] = value
    found = line.look_up([entity], self.made.cutoff)
    return line.score(np.repeat(found.vectors, 3, axis=0), raw)

  def check(self, context, changes, entity='u0001'):
    np.testing.assert_allclose(
        self.score(entity, **context).scores,
        self.expected(entity, **changes),
        atol=1e-6,
    )

  def test_items_and_the_entity_are_looked_up_and_unknown_ones_unknown(self):
    self.assertGreater(np.ptp(self.expected()), 1e-3)
    self.check({}, {})

  def test_an_unknown_entity_has_the_default_embedding(self):
    scored = self.score('nobody')
    self.assertEqual(scored.statuses, [lookup.Status.MISSING])
    self.check({}, {}, entity='nobody')

  def test_status_and_age_are_those_of_the_store(self):
    scored = self.score()
    self.assertEqual(scored.statuses, [lookup.Status.PRESENT])
    self.assertGreater(scored.ages[0], 0)
    self.assertEqual(scored.snapshot, '00000001')

  @parameterized.named_parameters(
      ('of_a_vocabulary', {'city': 'Rome'}, {'city': 3}),
      ('out_of_vocabulary', {'city': 'Lima'}, {'city': 0}),
      ('empty', {'city': ''}, {'city': 0}),
      ('number', {'price': '99'}, {'price': math.log(100)}),
      ('unknown_number', {'price': ''}, {'price': math.nan}),
      ('bucket', {'hour': '6'}, {'hour': 2}),
      ('lowest_bucket', {'hour': '-1'}, {'hour': 1}),
      ('no_bucket', {'hour': ''}, {'hour': 0}),
      ('hashed', {'page': 'home'}, {'page': cells.hashed_row('home', 7)}),
      ('hashed_empty', {'page': ''}, {'page': 0}),
      ('several', {'colors': ('blue', 'red')}, {'colors': [3, 1]}),
      # As `prepare` does: a token out of vocabulary is one, of row 0.
      ('stranger_among_several', {'colors': 'mauve'}, {'colors': [0, -1]}),
      ('none_of_several', {'colors': ''}, {'colors': [-1, -1]}),
  )
  def test_context_wins_and_is_encoded_as_prepare_would(self, context, changes):
    self.check(context, changes)

  def test_none_is_unknown_though_an_empty_text_is_a_category(self):
    rows = np.zeros(2, reading.TOKEN_ROW)
    rows['row'] = [1, 2]
    path = pathlib.Path(self.create_tempdir().full_path) / 'city'
    key_table.write(path, ['', 'Rome'], rows)
    table = key_table.open_table(
        path, 2, reading.TOKEN_ROW, np.zeros((), reading.TOKEN_ROW)
    )
    bundle = self.service.versions.current.bundle
    bundle = bundle._replace(vocabularies=bundle.vocabularies | {'city': table})
    given = {'city': request_lib.Given([None, '', 'Rome'])}
    request = request_lib.make(
        ['u0001'], _CANDIDATES, given, limits=self.service.settings
    )
    packed, _ = features.join(bundle, request)
    column = bundle.columns.by_name['city'].start
    np.testing.assert_array_equal(packed.ids[:, column], [0, 1, 2])

  @parameterized.parameters('inf', '-1', 'cheap')
  def test_refuses_what_is_no_number(self, text):
    with self.assertRaisesRegex(errors.InputError, 'price is .* finite number'):
      self.score(price=text)

  def test_refuses_an_unknown_feature(self):
    with self.assertRaisesRegex(errors.InputError, 'unknown feature mood'):
      self.score(mood='good')

  def test_refuses_two_values_of_one(self):
    with self.assertRaisesRegex(errors.InputError, 'city is given 2 values'):
      self.score(city=('Rome', 'Oslo'))

  def test_refuses_a_pair_without_value(self):
    with self.assertRaisesRegex(errors.InputError, 'NAME=VALUE'):
      scoring.parse_context(['device'])


class SettingsTest(parameterized.TestCase):

  @parameterized.parameters(
      (None, 'no settings of a bundle'),
      ('{', 'no settings of a bundle'),
      ('[]', 'parameters.extra is missing'),
      ('{"parameters": {"extra": {}}}', 'extra.store is missing'),
  )
  def test_refuses_a_folder_that_is_no_bundle(self, text, message):
    root = self.create_tempdir()
    if text is not None:
      root.create_file('model-settings.json', text)
    path = pathlib.Path(root.full_path)
    with self.assertRaisesRegex(errors.InputError, message):
      bundle_input.read_settings(path)


class ExportedEntitiesTest(absltest.TestCase):

  def test_attribute_that_changes_is_the_latest_known(self):
    table, info = synthetic.make_tasks(num_entities=3)
    plan = np.arange(int(table.offsets[-1]), dtype=np.int32)
    table.event_features['plan'] = plan
    spec = types.FeatureSpec(
        'plan', 'categorical', 'entity', 'both', 99, per_event=True
    )
    info = type(info)(**vars(info) | {'features': (*info.features, spec)})
    found = pipeline.entity_features(pipeline.Dataset(None, info, table))
    np.testing.assert_array_equal(found['plan'], table.offsets[1:] - 1)


if __name__ == '__main__':
  absltest.main()
