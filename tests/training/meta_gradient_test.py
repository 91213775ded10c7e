from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
from jax.extend import core
import jax.numpy as jnp

from limaml_jax.training import mesh as mesh_lib
from limaml_jax.training import meta_gradient
from tests.meta import small_network


def equations(jaxpr, within=()):
  """Yields each equation's primitive, and the primitives that it lies in."""
  for equation in jaxpr.eqns:
    name = equation.primitive.name
    yield name, within
    for inner in core.jaxprs_in_params(equation.params):
      yield from equations(inner, (*within, name))


class MakeTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    config = small_network.make_config()
    self.meta_loss = small_network.make_meta_loss(config)
    batch = small_network.make_meta_batch(config, num_tasks=6)
    weight = jnp.asarray([1.0, 0.0, 2.0, 0.5, 0.0, 4.0])
    self.arguments = (
        small_network.make_params(config),
        batch._replace(weight=weight),
    )
    self.mesh = mesh_lib.make_mesh(mesh_rows=1)

  def make(self, budget_bytes):
    return mesh_lib.on_each_device(
        meta_gradient.make(
            self.meta_loss, mesh=self.mesh, memory_budget_bytes=budget_bytes
        ),
        self.mesh,
        in_specs=(
            mesh_lib.replicated(self.mesh),
            mesh_lib.by_task(self.mesh),
        ),
        out_specs=mesh_lib.replicated(self.mesh),
    )

  @parameterized.parameters(0, 1, 10**9)
  def test_is_the_gradient_of_the_meta_loss(self, budget_bytes):
    expected = jax.value_and_grad(self.meta_loss, has_aux=True)
    chex.assert_trees_all_close(
        jax.jit(self.make(budget_bytes))(*self.arguments),
        jax.jit(expected)(*self.arguments),
        rtol=1e-5,
        atol=1e-7,
    )

  @parameterized.parameters((10**9, False), (1, True))
  def test_devices_sum_once_in_a_step(self, budget_bytes, in_microbatches):
    traced = jax.make_jaxpr(self.make(budget_bytes))(*self.arguments)
    found = list(equations(traced.jaxpr))
    sums = [within for name, within in found if name.startswith('psum')]
    self.assertNotEmpty(sums)
    for within in sums:
      self.assertNotIn('scan', within)
    self.assertEqual(
        any('scan' in within for _, within in found), in_microbatches
    )


if __name__ == '__main__':
  absltest.main()
