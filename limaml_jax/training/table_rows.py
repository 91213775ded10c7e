"""Embedding tables by the row: fetched, differentiated, stepped where they lie.

A meta-batch reads few rows of a table. Only those are differentiated, only
their optimizer state is read, and only they are written, so a step costs the
same whatever the size of the table. A row that occurs many times in a batch
is fetched once, which sums its gradients.

All runs on one device of the mesh, under `jax.shard_map`: it sees its own tasks
and its own rows, and asks `row_exchange` for those of the others.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from limaml_jax import types
from limaml_jax.training import row_exchange
from limaml_jax.training import row_step

# A table no larger than this is fetched whole: cheaper than finding the
# distinct rows. Rows that do not occur are still left untouched.
_WHOLE_TABLE_ROWS = 2048


class Gathered(NamedTuple):
  """The rows of each table that a device's tasks read.

  Attributes:
    rows: by table, [U, dimension].
    indices: of those rows in the table, ascending, [U]; V, out of range, where
      nothing was read.
    episodes: the meta-batch with indices into `rows` instead of the table.
  """

  rows: dict[str, jax.Array]
  indices: dict[str, jax.Array]
  episodes: types.Episode


def gather(
    tables: types.Tables,
    meta_batch: types.Episode,
    *,
    axes: row_exchange.Axes = row_exchange.ONE_DEVICE,
) -> Gathered:
  """Gathers the distinct rows of each table that the meta-batch reads.

  Args:
    tables: this device's rows, [V / axes.rows, dimension] each.
    meta_batch: indexed; the leaves under a table's name are its row numbers,
      -1 for none.
    axes: of the mesh.
  """
  leaves = jax.tree_util.tree_leaves_with_path(meta_batch)
  ids = {}
  for path, leaf in leaves:
    name = _table_name(path)
    if name in tables:
      ids.setdefault(name, []).append(leaf.ravel())
  rows, indices, positions = {}, {}, {}
  for name, parts in ids.items():
    table = jnp.asarray(tables[name])
    num_rows = table.shape[0] * axes.rows
    is_whole = num_rows <= _WHOLE_TABLE_ROWS
    find = _occurring if is_whole else _distinct
    fetch = row_exchange.fetch_whole if is_whole else row_exchange.fetch
    indices[name], positions[name] = find(jnp.concatenate(parts), num_rows)
    rows[name] = fetch(table, indices[name], axes)

  def renumber(path, leaf):
    name = _table_name(path)
    if name not in ids:
      return leaf
    flat, positions[name] = jnp.split(positions[name], [leaf.size])
    return jnp.where(leaf < 0, leaf, flat.reshape(leaf.shape))

  episodes = jax.tree_util.tree_map_with_path(renumber, meta_batch)
  return Gathered(rows=rows, indices=indices, episodes=episodes)


def _occurring(
    ids: jax.Array, num_rows: int
) -> tuple[jax.Array, jax.Array]:
  """Returns every row number, V where it does not occur, and `ids`."""
  ids = jnp.where(ids < 0, num_rows, ids)  # Padding reads no row.
  occurs = jnp.zeros(num_rows, bool).at[ids].set(True, mode='drop')
  return jnp.where(occurs, jnp.arange(num_rows), num_rows), ids


def _distinct(
    ids: jax.Array, num_rows: int
) -> tuple[jax.Array, jax.Array]:
  """Returns distinct row numbers, [U], and where each id stands in them."""
  return jnp.unique(
      jnp.where(ids < 0, num_rows, ids),
      size=min(ids.size, num_rows + 1),
      fill_value=num_rows,
      return_inverse=True,
  )


def _table_name(path: tuple) -> str | None:
  """The dict key that a leaf of an Episode stands under, if any."""
  last = path[-1]
  return last.key if isinstance(last, jax.tree_util.DictKey) else None


def update(
    optimizer: optax.GradientTransformation,
    table: jax.Array,
    opt_state: optax.OptState,
    rows: jax.Array,
    row_grads: jax.Array,
    indices: jax.Array,
    *,
    axes: row_exchange.Axes = row_exchange.ONE_DEVICE,
) -> tuple[jax.Array, optax.OptState, jax.Array]:
  """Steps the optimizer on the gathered rows of one table alone.

  Args:
    optimizer: elementwise, e.g. Adam.
    table: this device's rows, [V / axes.rows, dimension].
    opt_state: of those rows; only the gathered ones are read or written.
    rows: of the table, gathered, [U, dimension].
    row_grads: this device's part of their gradients, [U, dimension].
    indices: of the rows in the table, [U]; out of range: not written.
    axes: of the mesh.

  Returns:
    The table and the state after the step, and the sum of all squared
    gradients, [].
  """
  state = row_step.RowState(table, opt_state)
  if axes.size == 1:
    state = row_step.step(optimizer, state, rows, row_grads, indices)
    squares = jnp.sum(jnp.square(row_grads))
    return state.table, state.opt_state, squares
  is_whole = table.shape[0] * axes.rows <= _WHOLE_TABLE_ROWS
  deliver = row_exchange.deliver_whole if is_whole else row_exchange.deliver
  state, squares = deliver(optimizer, state, row_grads, indices, axes)
  return state.table, state.opt_state, squares
