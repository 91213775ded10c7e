import math

from absl.testing import absltest
from absl.testing import parameterized

from limaml_jax import errors
from limaml_jax.serving import settings


class SettingsTest(parameterized.TestCase):

  def test_what_is_left_out_has_a_default(self):
    parsed = settings.parse({'store': 'lmdb:/x'}, 'PLACE')
    self.assertEqual(parsed, settings.Settings(store='lmdb:/x'))
    self.assertEqual(parsed.deadline_seconds, 0.05)

  def test_what_is_given_is_taken(self):
    fields = {
        'store': 'redis://h:1/0',
        'deadline_seconds': 1,
        'max_age_seconds': 0,
        'max_entities': 2,
        'max_candidates': 3,
        'poll_seconds': 0.5,
        'explore': False,
    }
    parsed = settings.parse(fields, 'PLACE')
    self.assertEqual(vars(parsed), fields)

  @parameterized.parameters(
      ('store', 5, 'is 5; set a text'),
      ('store', '', 'is missing; set the address'),
      ('store', None, 'is None; set a text'),
      ('explore', 1, 'is 1; set true or false'),
      ('explore', 'no', "is 'no'; set true or false"),
      ('deadline_seconds', '1', "is '1'; set a number"),
      ('deadline_seconds', True, 'is True; set a number'),
      ('deadline_seconds', 0, 'is 0; set 0.001 or more'),
      ('deadline_seconds', math.nan, 'is nan; set 0.001 or more'),
      ('deadline_seconds', math.inf, 'is inf; set 0.001 or more'),
      ('max_age_seconds', -2, 'is -2; set -1 or more'),
      ('max_age_seconds', 0.5, 'is 0.5; set a whole number'),
      ('max_entities', 0, 'is 0; set 1 or more'),
      ('max_entities', 2.0, 'is 2.0; set a whole number'),
      ('max_entities', True, 'is True; set a whole number'),
      ('max_candidates', 0, 'is 0; set 1 or more'),
      ('max_candidates', math.inf, 'is inf; set a whole number'),
      ('max_candidates', [1], r'is \[1\]; set a whole number'),
      ('poll_seconds', 0.001, 'is 0.001; set 0.01 or more'),
      ('poll_seconds', {}, 'is {}; set a number'),
  )
  def test_a_wrong_value_is_named(self, name, value, message):
    with self.assertRaisesRegex(
        errors.InputError, rf'^PLACE: parameters\.extra\.{name} {message}'
    ):
      settings.parse({'store': 'lmdb:/x'} | {name: value}, 'PLACE')

  def test_an_unknown_name_is_told_from_the_known_ones(self):
    with self.assertRaisesRegex(
        errors.InputError,
        r'^PLACE: parameters\.extra\.deadline is unknown; .* deadline_seconds,',
    ):
      settings.parse({'store': 'x', 'deadline': 1}, 'PLACE')

  def test_a_missing_store_is_told(self):
    with self.assertRaisesRegex(errors.InputError, 'extra.store is missing'):
      settings.parse({}, 'PLACE')


if __name__ == '__main__':
  absltest.main()
