import os
import signal

from absl.testing import absltest

from limaml_jax.training import preemption


class WatchTest(absltest.TestCase):

  def test_signal_is_noted_instead_of_obeyed(self):
    before = signal.getsignal(signal.SIGTERM)
    with preemption.Watch() as watch:
      self.assertFalse(watch.should_stop(1))
      os.kill(os.getpid(), signal.SIGTERM)
      self.assertFalse(watch.stopped)
      self.assertTrue(watch.should_stop(2))
      self.assertTrue(watch.stopped)
    self.assertEqual(signal.getsignal(signal.SIGTERM), before)


if __name__ == '__main__':
  absltest.main()
