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

  def test_long_message_keeps_its_place_and_what_to_do(self):
    message = str(errors.InputError(f'log.csv: {"x" * 10**6}; mend the row'))
    self.assertLess(len(message), 1100)
    self.assertStartsWith(message, 'log.csv: xxx')
    self.assertEndsWith(message, 'x; mend the row')


if __name__ == '__main__':
  absltest.main()
