from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from experiments.baselines import ridge_logistic


def draw(num_events=7, num_features=3):
  rng = np.random.default_rng(0)
  return {
      'features': rng.normal(size=(num_events, num_features)).astype('f'),
      'offsets': rng.normal(size=num_events).astype('f'),
      'labels': rng.integers(0, 2, num_events).astype('f'),
      'mask': rng.uniform(0.5, 2, num_events).astype('f'),
  }


class FitTest(absltest.TestCase):

  def test_reaches_the_optimum(self):
    case = draw()
    precision = np.asarray([0.1, 1.0, 4.0], 'f')

    def objective(weights):
      logits = case['features'] @ weights + case['offsets']
      losses = np.logaddexp(0, logits) - case['labels'] * logits
      return case['mask'] @ losses + 0.5 * precision @ weights**2

    expected = optimize.minimize(objective, np.zeros(3), tol=1e-10).x
    found = ridge_logistic.fit(**case, precision=precision)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)

  def test_padding_is_invisible(self):
    case = draw()
    padded = {
        name: np.concatenate([x, np.full((2, *x.shape[1:]), 9, 'f')])
        for name, x in case.items()
    }
    padded['mask'][-2:] = 0
    precision = jnp.ones(3)
    np.testing.assert_allclose(
        ridge_logistic.fit(**padded, precision=precision),
        ridge_logistic.fit(**case, precision=precision),
        rtol=1e-5,
    )

  def test_does_not_diverge_from_a_far_start(self):
    # All of one label, which the offsets contradict: a whole step goes to
    # 4 p(0) / (4 p(0) p(1) + 1 / 1000) = 367, and the next one much further.
    found = ridge_logistic.fit(
        jnp.ones((4, 1)), jnp.full(4, -6.0), jnp.ones(4), jnp.ones(4),
        precision=jnp.asarray([1e-3]), num_steps=30,
    )  # fmt: skip
    # At the optimum 4 p(0) = w / 1000.
    miss = 4 * jax.nn.sigmoid(6.0 - found[0])
    self.assertAlmostEqual(float(miss), float(found[0]) * 1e-3, places=4)


if __name__ == '__main__':
  absltest.main()
