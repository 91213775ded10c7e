"""The dense layer of both blocks."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from limaml_jax.linear import low_rank_kernel


def to_compute_dtype(rows: jax.Array, compute_dtype: str) -> jax.Array:
  """Lowers the precision of rows to 'bfloat16', or leaves it ('float32')."""
  return rows.astype(jnp.bfloat16) if compute_dtype == 'bfloat16' else rows


class Dense(nn.Module):
  """rows W + b; W may be one task's `LowRankKernel`.

  Attributes:
    num_inputs: in.
    num_outputs: out.
    use_bias: whether there is b.
  """

  num_inputs: int
  num_outputs: int
  use_bias: bool = True

  def setup(self):
    """Declares W and b."""
    self.kernel = self.param(
        'kernel',
        nn.initializers.lecun_normal(),
        (self.num_inputs, self.num_outputs),
    )
    if self.use_bias:
      self.bias = self.param(
          'bias', nn.initializers.zeros, (self.num_outputs,)
      )

  def __call__(self, rows: jax.Array) -> jax.Array:
    """Maps rows, [..., in], to [..., out]."""
    return self.add_bias(low_rank_kernel.matmul(rows, self.kernel))

  def add_bias(self, rows: jax.Array) -> jax.Array:
    """Adds b, where there is one."""
    return rows + self.bias.astype(rows.dtype) if self.use_bias else rows

  def part(self, rows: jax.Array, first: int) -> jax.Array:
    """Multiplies with rows [first, first + n) of W alone, for n inputs."""
    kernel = self.kernel[first : first + rows.shape[-1]]
    return low_rank_kernel.matmul(rows, kernel)
