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
import numpy as np

from experiments import progress
from experiments.benchmark import timing
from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax import overrides
from limaml_jax import types
from limaml_jax.blocks import model as model_lib
from limaml_jax.meta import outer_loop
from limaml_jax.meta import task_loss
from limaml_jax.training import mesh as mesh_lib
from limaml_jax.training import optimizer
from limaml_jax.training import state as state_lib

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
_SUPPORT = _QUERY = 16
_USERS = 1000
_DIMENSION = 16


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
    config = _config(name)
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


def _config(table_optimizer: str) -> config_lib.Config:
  return overrides.override(
      config_lib.Config(),
      {
          'outer_loop.table_optimizer': table_optimizer,
          'model.max_table_dimension': _DIMENSION,
          'model.meta_block.embedding_size': _DIMENSION,
          'training.mesh_rows': _MESH_ROWS.value,
      },
  )


def _make(config: config_lib.Config, num_rows: int) -> _Contender:
  """Compiles the outer step on a table of a size."""
  model = model_lib.make_model(
      config,
      specs=(
          types.FeatureSpec('user', 'categorical', 'entity', 'meta', _USERS),
          types.FeatureSpec('age', 'numeric', 'entity', 'meta'),
          types.FeatureSpec('item', 'categorical', 'item', 'global', num_rows),
      ),
      entity_type='user',
      entity_feature='user',
  )
  mesh = mesh_lib.make_mesh(config.training.mesh_rows)
  optimizers = state_lib.Optimizers(
      dense=optimizer.dense_optimizer(config.outer_loop, num_steps=1000),
      table=optimizer.table_optimizer(config.outer_loop, num_steps=1000),
  )
  state = state_lib.make_state(
      jax.random.key(0), model.init, optimizers, mesh
  )
  update: jax.stages.Wrapped = state_lib.make_meta_update(  # pyrefly: ignore
      _meta_loss(model, config),
      optimizers,
      index=model.index,
      shardings=state_lib.state_shardings(state, mesh),
      mesh=mesh,
  )
  batch = mesh_lib.put_by_task(_batch(num_rows), mesh)
  compiled = update.lower(state, batch).compile()
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


def _meta_loss(
    model: model_lib.Model, config: config_lib.Config
) -> outer_loop.MetaLossFn:
  return outer_loop.make_meta_loss(
      encode=model.encode,
      loss_fn=task_loss.make_task_loss(model.embed, model.inner_logit),
      query_loss_fn=task_loss.make_query_loss(
          model.embed, model.logit, pooling='latest'
      ),
      config=config.inner_loop,
  )


def _batch(num_rows: int) -> types.Episode:
  """Returns tasks that read rows from all over the table, leaves [T, ...]."""
  rng = np.random.default_rng(0)
  num_tasks = _TABLE_TASKS.value
  users = rng.integers(0, _USERS, (num_tasks, 1), np.int32)
  ages = rng.normal(size=(num_tasks, 1)).astype(np.float32)
  # A step's work is in its distinct rows: the same number of any table, where
  # it has so many.
  num_reads = num_tasks * (_SUPPORT + _QUERY)
  again = num_reads > num_rows
  items = iter(rng.choice(num_rows, num_reads, replace=again))

  def examples(size):
    shape = (num_tasks, size)
    read = np.fromiter(items, np.int32, num_tasks * size)
    return types.Examples(
        meta_features={'user': {'user': users, 'age': ages}},
        features={'item': read.reshape(shape)},
        labels=(rng.random(shape) < 0.3).astype(np.float32),
        mask=np.ones(shape, np.float32),
    )

  return types.Episode(
      support=examples(_SUPPORT),
      query=examples(_QUERY),
      weight=np.ones(num_tasks, np.float32),
  )


def _record(
    table_optimizer: str, contender: _Contender, first: float
) -> dict[str, object]:
  median = statistics.median(contender.seconds)
  return {
      'rows': contender.num_rows,
      'dimension': _DIMENSION,
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
