from absl.testing import absltest
from absl.testing import parameterized
import ml_dtypes
import numpy as np

from limaml_jax.store import record
from limaml_jax.store import vector_dtypes


def encoded(vectors, dtype):
  """Returns records of vectors."""
  vectors = np.asarray(vectors, np.float32)
  records = np.zeros(len(vectors), record.layout(vectors.shape[1], dtype))
  vector_dtypes.encode(vectors, records, dtype)
  return records


def stored(vectors, dtype):
  """Returns vectors as they come back."""
  return vector_dtypes.decode(encoded(vectors, dtype), dtype)


class VectorDtypesTest(parameterized.TestCase):

  @parameterized.parameters(
      ('float32', 8 + 256), ('float16', 8 + 128), ('bfloat16', 8 + 128),
      ('int8', 8 + 4 + 64),
  )  # fmt: skip
  def test_bytes_of_a_record(self, dtype, expected):
    self.assertEqual(record.layout(64, dtype).itemsize, expected)

  @parameterized.named_parameters(
      ('finite', lambda bits: bits[bits & 0x7C00 != 0x7C00]),
      ('positive', lambda bits: bits[bits < 0x7E00]),  # No nan.
      ('negative', lambda bits: bits[(bits & 0x7FFF) <= 0x7C00]),
      ('infinite', lambda bits: bits[bits == 0xFC00]),
      ('none', lambda bits: bits[:0]),
  )
  def test_each_float16_comes_back_to_the_bit(self, choose):
    bits = choose(np.arange(2**16, dtype=np.uint16))
    records = np.zeros(bits.size, record.layout(1, 'float16'))
    records['vector'] = bits.view(np.float16)[:, None]
    found = vector_dtypes.decode(records, 'float16')
    expected = bits.view(np.float16).astype(np.float32)[:, None]
    np.testing.assert_array_equal(found.view('u4'), expected.view('u4'))

  def test_bfloat16_rounds_as_everybody_does(self):
    bits = np.random.default_rng(0).integers(0, 2**32, 100_000, np.uint32)
    # All patterns near halfway, infinities and what rounds up to them.
    special = [0x7F7FFFFF, 0x7F800000, 0xFF800000, 0x3F808000, 0x3F818000, 1]
    bits[: len(special)] = special
    vectors = bits.view(np.float32)[:, None]
    expected = vectors.astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(stored(vectors, 'bfloat16'), expected)

  def test_bfloat16_keeps_nan(self):
    nans = np.array([[0x7FFFFFFF], [0xFFFFFFFF], [0x7F800001]], np.uint32)
    self.assertTrue(np.isnan(stored(nans.view(np.float32), 'bfloat16')).all())

  def test_int8_has_a_scale_for_each_vector(self):
    vectors = [[127.0, -64.0, 0.4], [1.27, 0.0, -0.01], [0.0, 0.0, 0.0]]
    np.testing.assert_allclose(
        stored(vectors, 'int8'),
        [[127, -64, 0], [1.27, 0, -0.01], [0, 0, 0]],
        rtol=1e-6,
    )

  def test_int8_errs_by_half_a_step(self):
    vectors = np.random.default_rng(0).normal(size=(1000, 64))
    steps = np.abs(vectors).max(axis=1, keepdims=True) / 127
    error = np.abs(stored(vectors, 'int8') - vectors)
    self.assertLessEqual(float((error / steps).max()), 0.5001)

  @parameterized.product(
      dtype=vector_dtypes.DTYPES, value=(np.nan, np.inf, -np.inf)
  )
  def test_what_is_not_finite_comes_back_so(self, dtype, value):
    found = stored([[1.0, value], [1.0, 2.0]], dtype)
    np.testing.assert_array_equal(
        np.isfinite(found).all(axis=1), [False, True]
    )

  @parameterized.product(
      dtype=vector_dtypes.DTYPES, value=(np.nan, np.inf, -np.inf)
  )
  def test_finite_vectors_are_told_from_others(self, dtype, value):
    vectors = np.full((10_000, 2), -60_000.0)
    vectors[[3, 9_000], [0, 1]] = value
    finite = vector_dtypes.are_finite(encoded(vectors, dtype), dtype)
    np.testing.assert_array_equal(np.flatnonzero(~finite), [3, 9_000])


if __name__ == '__main__':
  absltest.main()
