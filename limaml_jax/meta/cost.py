"""What an inner step costs for each layer, whole or in factors, from shapes.

              operations                       bytes
    plain     6 R in out + 2 in out            20 in out
    low rank  4 R in out + 4 k R^2 (in + out)  8 k R (in + out)

per task in step k, in float32. Plain: the layer forward, backward, and the
gradient of its kernel, then the update; the task's own kernel is read twice,
its gradient written and read, the new kernel written. Low rank: forward and
backward through the shared kernel, read once for all tasks, and through k
pairs of factors. Differentiating through the step triples both.
"""

from collections.abc import Mapping
from typing import NamedTuple

# Operations in the time of one byte from memory: about 10 on CPUs (100 Gflop/s,
# 10 GB/s) and on GPUs (50 Tflop/s, 5 TB/s).
_OPERATIONS_PER_BYTE = 10
_SECOND_ORDER = 3


class Layer(NamedTuple):
  """A dense layer of the meta block, as one task uses it.

  Attributes:
    num_rows: R, distinct rows that it maps.
    num_inputs: in.
    num_outputs: out.
  """

  num_rows: int
  num_inputs: int
  num_outputs: int


class Cost(NamedTuple):
  """Predicted price of some work on one task.

  Attributes:
    flops: floating-point operations.
    bytes: moved from and to memory.
  """

  flops: int
  bytes: int

  @property
  def time(self) -> int:
    """In operations, memory traffic included."""
    return self.flops + _OPERATIONS_PER_BYTE * self.bytes


class Plan(NamedTuple):
  """How each kernel of a meta block adapts, and what that is predicted to take.

  Attributes:
    low_rank: R of each kernel that adapts by factors.
    refused: why a matrix cannot, by path.
    plain_cost: of one task, were every kernel adapted whole.
    low_rank_cost: of one task, as planned.
  """

  low_rank: dict[str, int]
  refused: dict[str, str]
  plain_cost: Cost
  low_rank_cost: Cost


def plain_cost(layer: Layer, num_steps: int) -> Cost:
  """Predicts K inner steps that hold the task's own kernel."""
  size = layer.num_inputs * layer.num_outputs
  flops = (6 * layer.num_rows + 2) * size
  return Cost(
      _SECOND_ORDER * num_steps * flops, _SECOND_ORDER * num_steps * 20 * size
  )


def low_rank_cost(layer: Layer, num_steps: int) -> Cost:
  """Predicts K inner steps that hold factors."""
  rows, num_inputs, num_outputs = layer
  thin = num_inputs + num_outputs
  num_pairs = num_steps * (num_steps + 1) // 2  # Sum of k = 1..K, with writing.
  flops = 4 * num_steps * rows * num_inputs * num_outputs
  flops += 4 * num_pairs * rows * rows * thin
  return Cost(
      _SECOND_ORDER * flops, _SECOND_ORDER * 8 * num_pairs * rows * thin
  )


def choose(
    layers: Mapping[str, Layer],
    *,
    refused: Mapping[str, str],
    num_steps: int,
    implementation: str,
) -> Plan:
  """Chooses for each layer.

  Args:
    layers: those that the low-rank form can express, by path.
    refused: why each other matrix cannot.
    num_steps: K.
    implementation: 'plain', 'low_rank', or 'auto' for the cheaper one.
  """
  num_rows, plain, planned = {}, Cost(0, 0), Cost(0, 0)
  for path, layer in layers.items():
    whole = plain_cost(layer, num_steps)
    chosen = whole
    factors = low_rank_cost(layer, num_steps)
    cheaper = implementation == 'auto' and factors.time < whole.time
    if implementation == 'low_rank' or cheaper:
      num_rows[path] = layer.num_rows
      chosen = factors
    plain = _add(plain, whole)
    planned = _add(planned, chosen)
  return Plan(num_rows, dict(refused), plain, planned)


def describe(plan: Plan) -> str:
  """Says what was chosen, in one line for the log."""
  by_factors = ', '.join(plan.low_rank) or 'none'
  ratio = plan.plain_cost.time / max(plan.low_rank_cost.time, 1)
  text = (
      f'adapts by factors: {by_factors}; predicted for dense kernels, a task: '
      f'{plan.low_rank_cost.flops / 1e6:.3g} Mflop and '
      f'{plan.low_rank_cost.bytes / 1e6:.3g} MB, plain '
      f'{plan.plain_cost.flops / 1e6:.3g} and '
      f'{plan.plain_cost.bytes / 1e6:.3g} ({ratio:.1f} times as long)'
  )
  for path, reason in plan.refused.items():
    text += f'; plain, as {path} {reason}'
  return text


def _add(one: Cost, other: Cost) -> Cost:
  return Cost(one.flops + other.flops, one.bytes + other.bytes)
