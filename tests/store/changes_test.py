import importlib.util
import unittest

from absl.testing import absltest
import numpy as np

from limaml_jax.store import address
from limaml_jax.store import snapshot

_HAS_FEAST = importlib.util.find_spec('feast') is not None
if _HAS_FEAST:
  from limaml_jax.store.feast_store import changes


@unittest.skipUnless(_HAS_FEAST, "pip install '.[feast]'")
class ChangesTest(absltest.TestCase):

  def test_each_entity_has_its_record_and_whether_it_changed(self):
    store = address.open_backend(self.create_tempdir().full_path)
    for keys, numbers in (('acd', [1, 3, 4]), ('abd', [1, 2, 5])):
      snapshot.write_arrays(
          store,
          'user',
          keys=list(keys),
          vectors=np.array(numbers)[:, None],
          watermarks=np.array([7, 8, 9]),
          default_embedding=np.zeros(1),
          fingerprint='model',
          cutoff=10,
          created=20,
      )
    with (
        store.open_snapshot('user', '00000001') as former,
        store.open_snapshot('user', '00000002') as target,
    ):
      found = list(changes.find(target, [former]))
    record = lambda watermark, number: (
        np.int64(watermark).tobytes() + np.float32(number).tobytes()
    )
    self.assertEqual(
        found,
        [
            (b'a', record(7, 1), True),
            (b'b', record(8, 2), False),
            (b'c', None, False),
            (b'd', record(9, 5), False),
        ],
    )


if __name__ == '__main__':
  absltest.main()
