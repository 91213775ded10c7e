from absl.testing import absltest
from absl.testing import parameterized
import pytest

pytest.importorskip('mlserver', reason='no mlserver: /explore IS NOT TESTED')
import fastapi  # noqa: E402

from limaml_jax.serving.open_inference import explore  # noqa: E402


class OfThisMachineTest(parameterized.TestCase):

  def ask(self, *headers, version='1.1'):
    return explore.is_of_this_machine(fastapi.Request({
        'type': 'http',
        'http_version': version,
        'client': ('127.0.0.1', 50000),
        'headers': [(b'host', b'127.0.0.1:8080'), *headers],
    }))

  def test_a_browser_here_is(self):
    self.assertTrue(self.ask())

  @parameterized.parameters(
      b'via', b'forwarded', b'x-forwarded-for', b'x-forwarded-host',
      b'x-forwarded-proto', b'x-real-ip',
  )  # fmt: skip
  def test_what_a_proxy_adds_is_not(self, header):
    self.assertFalse(self.ask((header, b'http')))

  def test_a_proxy_that_adds_nothing_and_speaks_1_0_is_not(self):
    self.assertFalse(self.ask(version='1.0'))


if __name__ == '__main__':
  absltest.main()
