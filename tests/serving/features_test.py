import math
import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import ibis
import numpy as np
import pyarrow as pa

from limaml_jax import cells
from limaml_jax import errors
from limaml_jax import types
from limaml_jax.bundle import columns as columns_lib
from limaml_jax.bundle import key_table
from limaml_jax.bundle import reading
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import values as values_lib
from limaml_jax.data.tasks import cell_encoder
from limaml_jax.data.tasks import fitting
from limaml_jax.serving import features
from limaml_jax.serving import request as request_lib
from limaml_jax.serving import settings

_SPEC = types.FeatureSpec
_SPECS = (
    _SPEC('item_id', 'categorical', 'item', 'global', 4),
    _SPEC('colors', 'multi_hot', 'item', 'global', 4, 2),
    _SPEC('price', 'numeric', 'item', 'global', mean=3.0, transform='log1p'),
    _SPEC('city', 'categorical', 'entity', 'both', 3),
    _SPEC('age', 'numeric', 'entity', 'both', mean=40.0),
    _SPEC('hour', 'bucketized', 'context', 'global', 4, boundaries=(6.0, 18.0)),
    _SPEC('page', 'categorical', 'context', 'global', 8, hash_buckets=7),
    _SPEC('tags', 'multi_hot', 'context', 'global', 6, 3, hash_buckets=5),
)
_TOKENS = {
    'item_id': ['i1', 'i2', 'i3'],
    'colors': ['red', 'green', 'blue'],
    'city': ['Köln', 'Oslo'],
}
_LIMITS = settings.Settings(store='x', max_candidates=10_000)


def make_bundle(directory):
  """Returns what `join` reads of a bundle: two items and two entities."""
  columns = columns_lib.Columns(_SPECS)
  tables = {}
  for owner, keys, values in (
      ('item', ['i1', 'i2'], {
          'item_id': np.asarray([1, 2]),
          'colors': np.asarray([[1, -1], [3, 2]]),
          'price': np.asarray([0.5, 2.5]),
      }),
      ('entity', ['u1', 'u2'], {
          'city': np.asarray([1, 2]), 'age': np.asarray([20.0, 60.0]),
      }),
  ):  # fmt: skip
    records = columns.pack(owner, values, 2)
    key_table.write(directory / owner, keys, records)
    tables[owner] = key_table.open_table(
        directory / owner, 2, records.dtype, columns.pack(owner, {}, 1)[0]
    )
  vocabularies = {}
  for name, tokens in _TOKENS.items():
    rows = np.zeros(len(tokens), reading.TOKEN_ROW)
    rows['row'] = np.arange(1, len(tokens) + 1)
    key_table.write(directory / name, tokens, rows)
    vocabularies[name] = key_table.open_table(
        directory / name, len(tokens), rows.dtype, np.zeros((), rows.dtype)
    )
  return reading.Bundle(
      manifest=None, program=None, weights={}, default=None, columns=columns,
      items=tables['item'], entities=tables['entity'],
      vocabularies=vocabularies,
  )  # fmt: skip


class JoinTestCase(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.bundle = make_bundle(pathlib.Path(self.create_tempdir().full_path))

  def join(self, entities, candidates=None, counts=None, **given):
    """Returns the features of all rows by name, and the unknown items."""
    request = request_lib.make(
        entities,
        candidates,
        {name: request_lib.Given(values) for name, values in given.items()},
        counts=None if counts is None else np.asarray(counts),
        limits=_LIMITS,
    )
    packed, unknown = features.join(self.bundle, request)
    rows = [
        self.bundle.columns.unpack(ids, numbers)
        for ids, numbers in zip(*packed, strict=True)
    ]
    names = self.bundle.columns.by_name
    return {name: np.asarray([row[name] for row in rows]) for name in names} | {
        'unknown': unknown
    }


class FeaturesTest(JoinTestCase):

  def test_keys_tell_what_is_known(self):
    found = self.join(['u2', 'u1'], ['i2', 'i1', 'i2'], [1, 2])
    np.testing.assert_array_equal(found['item_id'], [2, 1, 2])
    np.testing.assert_array_equal(found['colors'], [[3, 2], [1, -1], [3, 2]])
    np.testing.assert_array_equal(found['price'], [2.5, 0.5, 2.5])
    np.testing.assert_array_equal(found['city'], [2, 1, 1])
    np.testing.assert_array_equal(found['age'], [60, 20, 20])
    np.testing.assert_array_equal(found['hour'], [0, 0, 0])
    self.assertEqual(found['unknown'], 0)

  def test_an_unknown_item_or_entity_is_normal(self):
    found = self.join(['nobody'], ['i2', 'new', ''])
    np.testing.assert_array_equal(found['item_id'], [2, 0, 0])
    np.testing.assert_array_equal(found['colors'][1], [-1, -1])
    np.testing.assert_array_equal(found['price'], [2.5, np.nan, np.nan])
    np.testing.assert_array_equal(found['age'], [np.nan] * 3)
    np.testing.assert_array_equal(found['city'], [0, 0, 0])
    self.assertEqual(found['unknown'], 2)

  @parameterized.parameters(
      ('item_id', ['i3'], 3),
      ('colors', [['green', 'red']], [2, 1]),
      ('price', [math.e - 1], 1.0),
      ('price', [math.nan], np.nan),
      ('city', ['Oslo'], 2),
      ('age', [7], 7.0),
  )
  def test_what_is_given_wins_over_what_is_known(self, name, value, expected):
    found = self.join(['u1'], ['i1', 'i2'], **{name: value})
    np.testing.assert_allclose(found[name], [expected] * 2, rtol=1e-6)
    other = 'age' if name != 'age' else 'city'
    self.assertEqual(found[other][0], 20 if other == 'age' else 1)

  @parameterized.parameters(
      ('once', [9], [9, 9, 9]),
      ('of each entity', [8, 9], [8, 9, 9]),
      ('of each candidate', [7, 8, 9], [7, 8, 9]),
  )
  def test_values_may_come(self, _, values, expected):
    found = self.join(['u1', 'u2'], ['i1'] * 3, [1, 2], age=values)
    np.testing.assert_array_equal(found['age'], expected)

  def test_as_many_entities_as_candidates_it_depends_whose_it_is(self):
    found = self.join(
        ['u1', 'u2'], ['i1', 'i2'], [0, 2], age=[8, 9], price=[0, math.e - 1]
    )
    np.testing.assert_array_equal(found['age'], [9, 9])
    np.testing.assert_allclose(found['price'], [0, 1], rtol=1e-6)

  @parameterized.parameters(0, 4)
  def test_another_number_of_values_is_refused(self, num_values):
    with self.assertRaisesRegex(
        errors.InputError,
        f'^age: {num_values} values; send 1, one for each of 2 entities, or'
        ' one for each of 3 candidates',
    ):
      self.join(['u1', 'u2'], ['i1'] * 3, [1, 2], age=[1] * num_values)

  @parameterized.parameters(
      ('price', 'cheap', "price: 'cheap' is no finite number above -1"),
      ('price', -1, 'price: -1 is no finite number above -1'),
      ('price', math.inf, 'price: inf is no finite number above -1'),
      ('age', 1e39, r'age: 1e\+39 is no finite number of 32 bits'),
      ('age', -1e39, r'age: -1e\+39 is no finite number of 32 bits'),
      ('age', 10**400, 'age: 10000.* is no finite number'),
      ('age', [1], r'age: \[1\] is no finite number'),
      ('hour', 'noon', "hour: 'noon' is no finite number"),
      ('city', 1.5, 'city: 1.5 is no category'),
      ('city', ['Oslo'], 'city: .* is no category'),
      ('colors', [['red', None]], 'colors: .*None is no category|no category'),
      ('tags', [[1.5]], 'tags: .* is no category'),
      ('mood', 'good', 'mood: no such feature; there are item_id, colors,'),
  )
  def test_a_wrong_value_names_the_feature(self, name, value, message):
    with self.assertRaisesRegex(errors.InputError, '^' + message):
      self.join(['u1'], ['i1'], **{name: [value]})

  @parameterized.parameters('page', 'tags', 'city', 'colors', 'item_id')
  def test_a_text_that_is_no_unicode_is_merely_unknown(self, name):
    found = self.join(['u1'], ['i1'], **{name: ['\ud800']})
    self.assertLen(found[name], 1)

  def test_without_rows_there_are_no_features(self):
    found = self.join(['u1'], [], age=[3], colors=[['red']])
    self.assertEmpty(found['age'])


class ParityTest(JoinTestCase):
  """A request is encoded as `prepare` encodes the same cells."""

  @parameterized.parameters(
      ('city', 'categorical', ['Oslo', 'Köln', 'Rome', '', ' Oslo']),
      ('page', 'categorical', ['home', '', 'ä', ' home']),
      ('colors', 'multi_hot', ['red', 'blue|red', 'mauve', 'red|mauve|pink',
                               'red|red|blue', ' red | blue ', '',
                               'mauve|pink', '|red', 'red|green|blue']),
      ('tags', 'multi_hot', ['a', 'a|b', '', 'a|b|c|d', 'b| a']),
  )  # fmt: skip
  def test_texts(self, name, kind, texts):
    column = self.bundle.columns.by_name[name]
    feature = schema_lib.Feature(
        name=name, owner='context', kind=kind, role='global',
        max_values=column.spec.max_values or None, separator='|',
    ) if kind == 'multi_hot' else schema_lib.Feature(
        name=name, owner='context', kind=kind, role='global'
    )  # fmt: skip
    tokens = pa.array(_TOKENS.get(name, []), pa.string())
    encode = cell_encoder.make_encode(
        feature, fitting.Fitted(column.spec, tokens)
    )
    prepared = encode(pa.chunked_array([texts]))
    sent = [t.split('|') for t in texts] if kind == 'multi_hot' else texts
    found = self.join(['u1'], ['i1'] * len(texts), **{name: sent})
    np.testing.assert_array_equal(found[name], prepared)

  @parameterized.parameters(True, False, 17, -3)
  def test_a_value_that_is_no_text_is_spelled_as_prepare_does(self, value):
    column = values_lib.as_text(ibis.literal(value))
    text = ibis.duckdb.connect().execute(column)
    found = self.join(['u1'], ['i1'], page=[value], tags=[[value]])
    self.assertEqual(found['page'][0], cells.hashed_row(text, 7))
    self.assertEqual(found['tags'][0][0], cells.hashed_row(text, 5))

  @parameterized.parameters('price', 'age', 'hour')
  def test_numbers(self, name):
    values = [0.0, 5.999999, 6.0, 17.9, 18.0, 1e30, 0.1, 40.0, -0.5]
    column = self.bundle.columns.by_name[name]
    feature = schema_lib.Feature(
        name=name, owner='context', kind=column.spec.kind, role='global'
    )
    encode = cell_encoder.make_encode(
        feature, fitting.Fitted(column.spec, None)
    )
    prepared = encode(pa.chunked_array([values]))
    found = self.join(['u1'], ['i1'] * len(values), **{name: values})
    np.testing.assert_array_equal(found[name], prepared)

  def test_a_hashed_integer_is_its_text(self):
    found = self.join(['u1'], ['i1'], page=[17])
    self.assertEqual(found['page'][0], cells.hashed_row('17', 7))

  @parameterized.parameters((math.nan, 0), (None, 0), (6, 2), (-100, 1))
  def test_an_hour_falls_into_its_bucket(self, hour, row):
    self.assertEqual(self.join(['u1'], ['i1'], hour=[hour])['hour'][0], row)

  def test_an_unknown_number_is_the_mean_as_prepare_has_it(self):
    # prepare writes the mean, online nan stands for it: see `encoder`.
    found = self.join(['u1'], ['i1'], age=[None])
    np.testing.assert_array_equal(found['age'], [np.nan])

  def test_space_around_a_token_of_a_list_does_not_count(self):
    found = self.join(['u1'], ['i1'], colors=[[' blue', 'red ']])
    np.testing.assert_array_equal(found['colors'], [[3, 1]])

  def test_a_token_out_of_vocabulary_is_row_0(self):
    found = self.join(['u1'], ['i1'], colors=[['mauve', 'red']], city=['Rome'])
    np.testing.assert_array_equal(found['colors'], [[0, 1]])
    self.assertEqual(found['city'][0], 0)


if __name__ == '__main__':
  absltest.main()
