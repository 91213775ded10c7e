import json
from typing import NamedTuple

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax.refresh import distributions
from limaml_jax.refresh import gate
from limaml_jax.refresh import quality
from limaml_jax.store import contents as contents_lib
from limaml_jax.store import manifest as manifest_lib
from limaml_jax.store import record

_NUM = 200


def make_contents(vectors, *, fingerprint='model', version='00000001'):
  """Returns a snapshot of some vectors."""
  manifest = manifest_lib.Manifest(
      version=version,
      entity_type='user',
      fingerprint=fingerprint,
      dimension=vectors.shape[1],
      dtype='float32',
      count=len(vectors),
      cutoff=10,
      watermark=5,
      created=20,
      default_embedding=(0.0,) * vectors.shape[1],
      generator={},
      checksum='0' * 64,
      data_checksum='',
  )
  keys = np.asarray([f'u{n:04d}' for n in range(len(vectors))])
  records = np.zeros(len(vectors), record.layout(vectors.shape[1], 'float32'))
  records['vector'] = vectors
  return contents_lib.Contents(manifest, keys, records)


class Scored(NamedTuple):
  """Stands for scores whose comparison is known."""

  difference: float
  interval: tuple[float, float] | None
  num_rows: int = 100

  def compared(self):
    return {
        'quality': quality.Compared(
            0.7, self.difference, self.interval, 'snapshot', 'of the test'
        )
    }


class GateTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(0)
    self.vectors = rng.normal(size=(_NUM, 4)).astype(np.float32)

  def judge(self, vectors, *, previous=None, scored=None, **kwargs):
    """Returns which checks passed, by name."""
    before = make_contents(self.vectors if previous is None else previous)
    expected = kwargs.pop('expected', len(vectors))
    cohorts = distributions.Cohorts(
        ('few', 'many'),
        np.arange(len(vectors)) % 2,
        np.arange(len(before.vectors)) % 2,
    )
    self.verdict = gate.judge(
        make_contents(vectors, version='00000002'),
        expected=expected,
        previous=before,
        cohorts=cohorts,
        scored=scored,
        config=gate.GateConfig(**kwargs),
    )
    return {check.name: check.passed for check in self.verdict.checks}

  def test_same_vectors_pass(self):
    found = self.judge(self.vectors)
    self.assertEqual(
        found,
        {
            'completeness': True,
            'finite': True,
            'norm': True,
            'drift of all': True,
            'drift of few': True,
            'drift of many': True,
            'quality': None,
        },
    )
    self.assertTrue(self.verdict.passed)

  @parameterized.parameters((198, 0.02, True), (198, 0.005, False),
                            (202, 0.005, False))  # fmt: skip
  def test_completeness(self, count, bound, passed):
    vectors = np.resize(self.vectors, (count, 4))
    found = self.judge(
        vectors, expected=_NUM, max_missing_fraction=bound
    )
    self.assertEqual(found['completeness'], passed)

  @parameterized.parameters((1.9, True), (2.1, False), (0.55, True),
                            (0.45, False))  # fmt: skip
  def test_norms(self, factor, passed):
    found = self.judge(self.vectors * np.float32(factor), max_drift=100)
    self.assertEqual(found['norm'], passed)

  def test_drift_is_in_standard_deviations(self):
    wide = self.vectors * np.float32(10)
    self.judge(wide + 3, previous=wide, max_drift=0.5)
    drift = next(c for c in self.verdict.checks if c.name == 'drift of all')
    self.assertAlmostEqual(drift.value, 0.3, delta=0.02)
    self.assertTrue(drift.passed)

  def test_drift_is_the_distance_between_quantiles(self):
    vectors = np.random.default_rng(1).gamma(2, size=(137, 4))
    quantiles = [
        np.quantile(x, np.linspace(0, 1, 101), axis=0)
        for x in (vectors.astype(np.float32), self.vectors)
    ]
    moved = np.abs(quantiles[0] - quantiles[1]).mean(axis=0)
    self.judge(vectors.astype(np.float32))
    drift = next(c for c in self.verdict.checks if c.name == 'drift of all')
    self.assertAlmostEqual(
        drift.value, (moved / self.vectors.std(axis=0)).mean(), places=5
    )

  def test_drift_of_one_cohort_alone(self):
    vectors = self.vectors.copy()
    vectors[::2] += 0.8
    found = self.judge(vectors, max_drift=0.5)
    self.assertTrue(found['drift of all'])
    self.assertFalse(found['drift of few'])
    self.assertTrue(found['drift of many'])

  def test_small_cohorts_are_not_judged(self):
    found = self.judge(self.vectors[:50] + 9, previous=self.vectors[:50])
    self.assertIsNone(found['drift of few'])
    self.assertFalse(found['drift of all'])

  @parameterized.parameters(
      (-0.02, (-0.03, -0.01), False),
      (-0.02, (-0.05, 0.01), True),  # Perhaps by chance.
      (-0.004, (-0.006, -0.002), True),  # For sure, but little.
      (0.02, (0.01, 0.03), True),
  )
  def test_quality(self, difference, interval, passed):
    found = self.judge(self.vectors, scored=Scored(difference, interval))
    self.assertEqual(found['quality'], passed)

  def test_quality_that_is_undefined(self):
    found = self.judge(self.vectors, scored=Scored(float('nan'), None))
    self.assertIsNone(found['quality'])

  def test_what_is_not_finite_is_named_in_valid_json(self):
    vectors = self.vectors.copy()
    vectors[7] = np.inf
    found = self.judge(vectors)
    self.assertFalse(found['finite'])
    text = self.verdict.to_json(version='00000002')
    verdict = json.loads(text, parse_constant=lambda name: self.fail(name))
    self.assertFalse(verdict['passed'])
    self.assertIn('u0007', text)


if __name__ == '__main__':
  absltest.main()
