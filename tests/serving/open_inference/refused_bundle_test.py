"""A server of a bundle that cannot be served: it says why, and fails."""

import os
import pathlib

from absl.testing import absltest

from limaml_jax.bundle import directory
from tests import drawn_bundle
from tests import served
from tests import small_bundle


class RefusedBundleTest(absltest.TestCase):

  def test_ends_with_an_error_and_says_why_last(self):
    served.skip_without_mlserver()
    root = pathlib.Path(self.create_tempdir().full_path) / 'bundle'
    version = drawn_bundle.write(root, drawn_bundle.make_model())
    made = small_bundle.SmallBundle(root, 'lmdb:nowhere', None, None)
    small_bundle.write_settings(made, (8080, 8081, 8082))
    weights = directory.version_path(root, version) / directory.WEIGHTS
    os.truncate(weights, 100)
    with served.serve(root, wait=False) as server:
      status = server.process.wait(served.PATIENCE_SECONDS)
      server.end()  # All that it has said is there.
      last = server.lines[-1]
    self.assertEqual(status, 1)
    self.assertStartsWith(last, f'error: {weights}: corrupt')
    self.assertIn('export again', last)


if __name__ == '__main__':
  absltest.main()
