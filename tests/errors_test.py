from absl.testing import absltest
from absl.testing import parameterized

from limaml_jax import errors


class InputErrorTest(parameterized.TestCase):

  @parameterized.parameters(
      ('log.csv: é and 😀; mend it', 'log.csv: é and 😀; mend it'),
      ('a\nb\r\tc', r'a\nb\r\tc'),
      ('a\x00b\u2028c\ufeff', r'a\x00b\u2028c\ufeff'),
  )
  def test_message_is_one_line_that_prints(self, message, expected):
    self.assertEqual(str(errors.InputError(message)), expected)

  @parameterized.product(letter=('x', '\0'), size=(600, 10**6))
  def test_long_message_keeps_its_place_and_what_to_do(self, letter, size):
    message = str(errors.InputError(f'log.csv: {letter * size}; mend the row'))
    self.assertLess(len(message), 1100)
    self.assertStartsWith(message, 'log.csv: ')
    self.assertEndsWith(message, '; mend the row')


if __name__ == '__main__':
  absltest.main()
