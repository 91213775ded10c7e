"""Times one meta-training step against the size of its embedding table.

    python -m experiments.benchmark table --rows=10000,100000,1000000,10000000

prints a JSON line for each size. The whole outer step runs: rows are gathered,
the inner loop and the meta-gradient run on them, and the optimizer writes them
back. Sizes take turns; compare figures of one run only. --mesh_rows divides the
table over devices; a CPU has as many as JAX_NUM_CPU_DEVICES says.
"""

from collections.abc import Callable
import dataclasses
import json
import statistics

from absl import flags
import jax

from experiments import progress
from experiments.benchmark import outer_step
from experiments.benchmark import timing
from limaml_jax import config as config_lib
from limaml_jax import errors

_ROWS = flags.DEFINE_list(
    'rows', ['10000', '100000', '1000000', '10000000'], 'Sizes of the table.'
)
_TABLE_OPTIMIZERS = flags.DEFINE_list(
    'table_optimizers', ['adam', 'row_wise_adagrad'], 'Optimizers of its rows.'
)
_TABLE_TASKS = flags.DEFINE_integer(
    'table_tasks', 256, 'T, tasks in a step.', lower_bound=1
)
_TABLE_REPEATS = flags.DEFINE_integer(
    'table_repeats', 20, 'Timed steps in each of three turns.', lower_bound=1
)
_MESH_ROWS = flags.DEFINE_integer(
    'mesh_rows', 1, 'Devices that the table is divided over.', lower_bound=1
)

_NUM_TURNS = 3


@dataclasses.dataclass
class _Contender:
  """A table of some size, and the steps taken on it."""

  num_rows: int
  step: Callable[[], None]
  table_bytes: int
  state_bytes: int
  bytes_per_device: int
  temp_bytes: int
  seconds: list[float] = dataclasses.field(default_factory=list)


def main() -> None:
  """Times each size, and prints a line for it."""
  sizes = _sizes()
  for name in _TABLE_OPTIMIZERS.value:
    config = outer_step.make_config(
        table_optimizer=name, mesh_rows=_MESH_ROWS.value
    )
    contenders = [_make(config, size) for size in sizes]
    with progress.bar(f'benchmark {name}') as update:
      for turn in range(_NUM_TURNS):
        for n, contender in enumerate(contenders, 1):
          contender.seconds += timing.time_steps(
              contender.step, _TABLE_REPEATS.value
          )
          update(turn * len(contenders) + n, _NUM_TURNS * len(contenders))
    first = statistics.median(contenders[0].seconds)
    for contender in contenders:
      print(json.dumps(_record(name, contender, first)), flush=True)


def _sizes() -> list[int]:
  for size in _ROWS.value:
    if not size.isdecimal() or int(size) < 2:
      raise errors.InputError(
          f'--rows={",".join(_ROWS.value)}: must be whole numbers above 1'
      )
  return [int(size) for size in _ROWS.value]


def _make(config: config_lib.Config, num_rows: int) -> _Contender:
  """Compiles the outer step on a table of a size."""
  compiled, state, batch = outer_step.compile_step(
      config, num_rows=num_rows, num_tasks=_TABLE_TASKS.value
  )
  memory = compiled.memory_analysis()
  holder = [state]

  def step():
    holder[0], metrics = compiled(holder[0], batch)
    jax.block_until_ready((holder[0], metrics))

  size_of = lambda tree: sum(
      leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree)
  )
  held = jax.tree.map(
      lambda leaf: jax.ShapeDtypeStruct(
          leaf.sharding.shard_shape(leaf.shape), leaf.dtype
      ),
      (state.params.tables, state.table_opt_states),
  )
  return _Contender(
      num_rows=num_rows,
      step=step,
      table_bytes=size_of(state.params.tables),
      state_bytes=size_of(state.table_opt_states),
      bytes_per_device=size_of(held),
      temp_bytes=memory.temp_size_in_bytes if memory else 0,
  )


def _record(
    table_optimizer: str, contender: _Contender, first: float
) -> dict[str, object]:
  median = statistics.median(contender.seconds)
  return {
      'rows': contender.num_rows,
      'dimension': outer_step.DIMENSION,
      'table_optimizer': table_optimizer,
      'num_tasks': _TABLE_TASKS.value,
      'mesh_rows': _MESH_ROWS.value,
      **timing.in_ms(contender.seconds),
      'ratio_to_first': round(median / first, 3),
      'table_bytes': contender.table_bytes,
      'state_bytes': contender.state_bytes,
      'bytes_per_device': contender.bytes_per_device,
      'temp_bytes': contender.temp_bytes,
  }
