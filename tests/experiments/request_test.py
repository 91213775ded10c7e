"""Features of a request: known, unknown, and given with it."""

import math
import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pyarrow as pa

from experiments import pipeline
from experiments import request
from limaml_jax import cells
from limaml_jax import errors
from limaml_jax import types
from limaml_jax.data import dataset
from limaml_jax.data.tasks import hashing
from limaml_jax.data.tasks import items as items_lib
from limaml_jax.data.tasks import ordered_events
from tests import synthetic

_SPECS = (
    types.FeatureSpec('item_id', 'categorical', 'item', 'global', 41),
    types.FeatureSpec('colors', 'multi_hot', 'item', 'global', 5, 2),
    types.FeatureSpec('age', 'numeric', 'entity', 'both', mean=40.0),
    types.FeatureSpec(
        'price', 'numeric', 'context', 'global', transform='log1p'
    ),
    types.FeatureSpec('device', 'categorical', 'context', 'global', 3),
    types.FeatureSpec(
        'hour', 'bucketized', 'context', 'global', 4, boundaries=(6.0, 18.0)
    ),
    types.FeatureSpec(
        'page', 'categorical', 'context', 'global', 51, hash_buckets=50
    ),
    types.FeatureSpec(
        'tags', 'multi_hot', 'context', 'global', 71, 3, hash_buckets=70
    ),
    types.FeatureSpec('plan', 'categorical', 'entity', 'both', per_event=True),
)


class FeaturesTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    directory = pathlib.Path(self.create_tempdir().full_path)
    items_lib.save_items(
        directory,
        np.asarray(['lamp', 'sofa']),
        {
            'item_id': np.asarray([7, 9], np.int32),
            'colors': np.asarray([[1, -1], [2, 3]], np.int32),
        },
    )
    (directory / dataset.VOCABULARIES_FILE).write_text(
        '{"device": ["phone", "tv"], "colors": ["red", "blue"]}'
    )
    table, info = synthetic.make_tasks(num_entities=3)
    num_events = int(table.offsets[-1])
    table.event_features['price'] = np.ones(num_events, np.float32)
    table.event_features['device'] = np.ones(num_events, np.int32)
    for name in ('hour', 'page'):
      table.event_features[name] = np.ones(num_events, np.int32)
    table.event_features['tags'] = np.ones((num_events, 3), np.int32)
    table.event_features['plan'] = np.arange(num_events, dtype=np.int32)
    self.data = pipeline.Dataset(directory, info, table)

  def features(self, entity='u0001', **context):
    return request.features(
        self.data, entity, ['sofa', 'boat'], context, specs=_SPECS
    )

  def test_items_are_looked_up_and_unknown_ones_unknown(self):
    found = self.features()
    np.testing.assert_array_equal(found['item_id'], [9, 0])
    np.testing.assert_array_equal(found['colors'], [[2, 3], [-1, -1]])

  def test_features_of_the_entity_are_its_own(self):
    age = self.data.table.entity_features['age'][1]
    np.testing.assert_array_equal(self.features()['age'], [age, age])
    np.testing.assert_array_equal(self.features('nobody')['age'], [np.nan] * 2)

  def test_context_left_out_is_unknown(self):
    found = self.features()
    np.testing.assert_array_equal(found['device'], [0, 0])
    np.testing.assert_array_equal(found['price'], [np.nan, np.nan])

  def test_context_is_encoded_as_prepare_would(self):
    found = self.features(device='tv', price='99', colors='blue')
    np.testing.assert_array_equal(found['device'], [2, 2])
    np.testing.assert_allclose(found['price'], [math.log(100)] * 2, rtol=1e-6)
    np.testing.assert_array_equal(found['colors'], [[2, -1]] * 2)
    # None of an unknown value, rather than that of row 0.
    found = self.features(colors='mauve')
    np.testing.assert_array_equal(found['colors'], [[-1, -1]] * 2)

  @parameterized.parameters(('5.9', 1), ('6', 2), ('18', 3), ('-1', 1), ('', 0))
  def test_number_is_put_into_its_bucket(self, text, row):
    found = self.features(hour=text)['hour']
    np.testing.assert_array_equal(found, [row, row])
    self.assertEqual(found.dtype, np.int32)

  def test_token_is_hashed_as_prepare_does(self):
    found = self.features(page='home', tags='new')
    column = pa.chunked_array([['home']])
    codes, texts = ordered_events.codes_and_texts(column)
    prepared = hashing.look_up(codes, texts, 50)
    np.testing.assert_array_equal(found['page'], np.repeat(prepared, 2))
    row = cells.hashed_row('new', 70)
    np.testing.assert_array_equal(found['tags'], [[row, -1, -1]] * 2)
    self.assertEqual(found['page'].dtype, np.int32)

  def test_empty_hashed_token_is_none(self):
    found = self.features(page='', tags='')
    np.testing.assert_array_equal(found['page'], [0, 0])
    np.testing.assert_array_equal(found['tags'], [[-1, -1, -1]] * 2)

  def test_attribute_that_changes_is_the_latest_known(self):
    latest = self.data.table.offsets[2] - 1
    np.testing.assert_array_equal(self.features()['plan'], [latest, latest])
    np.testing.assert_array_equal(self.features('nobody')['plan'], [0, 0])

  @parameterized.parameters('nan', 'inf', '-1', 'cheap')
  def test_refuses_what_is_no_number(self, text):
    with self.assertRaisesRegex(errors.InputError, 'price is .* finite number'):
      self.features(price=text)

  def test_refuses_an_unknown_feature(self):
    with self.assertRaisesRegex(errors.InputError, 'unknown feature mood'):
      self.features(mood='good')

  def test_refuses_a_pair_without_value(self):
    with self.assertRaisesRegex(errors.InputError, 'NAME=VALUE'):
      request.parse_context(['device'])


if __name__ == '__main__':
  absltest.main()
