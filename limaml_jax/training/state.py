"""State of meta-training, and the outer update that moves it by one step."""

from collections.abc import Callable
from typing import NamedTuple
from typing import cast

import jax
import jax.numpy as jnp
import optax

from limaml_jax import types
from limaml_jax.meta import outer_loop
from limaml_jax.training import mesh as mesh_lib
from limaml_jax.training import meta_gradient as meta_gradient_lib
from limaml_jax.training import row_exchange
from limaml_jax.training import table_rows


class TrainState(NamedTuple):
  """Everything that a checkpoint of meta-training holds.

  Attributes:
    step: number of completed outer steps, [].
    params: what is learned.
    dense_opt_state: of everything in `params` but its tables.
    table_opt_states: by table.
  """

  step: jax.Array
  params: types.BlockParams
  dense_opt_state: optax.OptState
  table_opt_states: dict[str, optax.OptState]


class Optimizers(NamedTuple):
  """The outer loop's optimizers, for dense parameters and for tables."""

  dense: optax.GradientTransformation
  table: optax.GradientTransformation


class StepMetrics(NamedTuple):
  """Numbers of one outer step, on the device; of an ensemble, of all of it.

  Attributes:
    meta_loss: before the update, the sum over members, [].
    query_loss: after adaptation, [].
    support_losses: before each inner step, [K].
    gradient_norm: of the dense meta-gradient, before clipping, [].
    table_gradient_norm: of the gathered table rows, [].
  """

  meta_loss: jax.Array
  query_loss: jax.Array
  support_losses: jax.Array
  gradient_norm: jax.Array
  table_gradient_norm: jax.Array


MetaUpdate = Callable[
    [TrainState, types.Episode], tuple[TrainState, StepMetrics]
]

# Random key -> state.
CreateFn = Callable[[jax.Array], TrainState]


def _without_tables(params: types.BlockParams) -> types.BlockParams:
  return params._replace(tables={})


def make_create(
    init: Callable[[jax.Array], types.BlockParams],
    optimizers: Optimizers,
    mesh: jax.sharding.Mesh,
) -> tuple[CreateFn, TrainState]:
  """Returns what creates the state on the mesh, and the state's shardings.

  No device ever holds all of it.
  """

  def create(key):
    params = init(key)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        dense_opt_state=optimizers.dense.init(_without_tables(params)),
        table_opt_states={
            name: optimizers.table.init(table)
            for name, table in params.tables.items()
        },
    )

  shape = jax.eval_shape(create, jax.random.key(0))
  shardings = _state_shardings(shape, mesh)
  return jax.jit(create, out_shardings=shardings), shardings


def _state_shardings(state: TrainState, mesh: jax.sharding.Mesh) -> TrainState:
  """Returns where each array lies: tables by row, all else replicated."""
  dense = mesh_lib.replicated(mesh)
  rows = mesh_lib.by_row(mesh)
  place = lambda leaf: rows if leaf.ndim else dense
  shardings = jax.tree.map(lambda _: dense, state)
  return shardings._replace(
      params=shardings.params._replace(
          tables=jax.tree.map(place, state.params.tables)
      ),
      table_opt_states=jax.tree.map(place, state.table_opt_states),
  )


def make_meta_update(
    meta_loss_fn: outer_loop.MetaLossFn,
    optimizers: Optimizers,
    *,
    index: Callable[[types.Examples], types.Examples],
    shardings: TrainState,
    mesh: jax.sharding.Mesh,
    memory_budget_bytes: int = 0,
) -> MetaUpdate:
  """Returns the jitted outer update; it consumes the state it is given.

  The meta-gradient flows through the inner loop into both blocks, the learned
  inner rates and the gathered rows of the embedding tables. Where it would
  need more than the budget, it is accumulated over microbatches.
  """
  meta_gradient = meta_gradient_lib.make(
      meta_loss_fn, mesh=mesh, memory_budget_bytes=memory_budget_bytes
  )
  axes = row_exchange.axes_of(mesh)

  def meta_update(state, meta_batch):
    indexed = index_episodes(meta_batch, index)
    gathered = table_rows.gather(state.params.tables, indexed, axes=axes)
    params = state.params._replace(tables=gathered.rows)
    (meta_loss, losses), grads = meta_gradient(params, gathered.episodes)
    dense = _without_tables(state.params)
    dense_grads = _without_tables(grads)
    updates, dense_opt_state = optimizers.dense.update(
        dense_grads, state.dense_opt_state, dense
    )
    dense = cast(types.BlockParams, optax.apply_updates(dense, updates))
    tables, table_opt_states, squares = _update_tables(
        optimizers.table, state, gathered, grads.tables, axes
    )
    new_state = TrainState(
        step=state.step + 1,
        params=dense._replace(tables=tables),
        dense_opt_state=dense_opt_state,
        table_opt_states=table_opt_states,
    )
    return new_state, StepMetrics(
        meta_loss=meta_loss,
        query_loss=losses.query_loss,
        support_losses=losses.support_losses,
        gradient_norm=optax.tree.norm(dense_grads),
        table_gradient_norm=jnp.sqrt(squares),
    )

  by_task, everywhere = mesh_lib.by_task(mesh), mesh_lib.replicated(mesh)
  return jax.jit(
      mesh_lib.on_each_device(
          meta_update,
          mesh,
          in_specs=(shardings, by_task),
          out_specs=(shardings, everywhere),
      ),
      donate_argnums=0,
      in_shardings=(shardings, by_task),
      out_shardings=(shardings, everywhere),
  )


def index_episodes(
    meta_batch: types.Episode,
    index: Callable[[types.Examples], types.Examples],
) -> types.Episode:
  """Returns a meta-batch with row numbers of tables instead of categories."""
  return meta_batch._replace(
      support=index(meta_batch.support), query=index(meta_batch.query)
  )


def _update_tables(optimizer, state, gathered, grads, axes):
  """Returns the tables, their optimizers' states, and the squared gradient."""
  tables, opt_states = dict(state.params.tables), {}
  total = jnp.zeros(())
  for name, opt_state in state.table_opt_states.items():
    tables[name], opt_states[name], squares = table_rows.update(
        optimizer,
        tables[name],
        opt_state,
        gathered.rows[name],
        grads[name],
        gathered.indices[name],
        axes=axes,
    )
    total += squares
  return tables, opt_states, total
