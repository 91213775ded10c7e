"""Embedding tables by the row: gathered, differentiated, scattered back.

A meta-batch reads few rows of a table. Only those are differentiated, only
their optimizer state is read, and only they are written, so a step costs the
same whatever the size of the table. A row that occurs many times in a batch
is gathered once, which sums its gradients.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from limaml_jax import types

# A table no larger than this is gathered whole: cheaper than finding the
# distinct rows. Rows that do not occur are still left untouched.
_WHOLE_TABLE_ROWS = 2048


class Gathered(NamedTuple):
  """The rows of each table that a meta-batch reads.

  Attributes:
    rows: by table, [U, dimension].
    indices: of those rows in the table, [U]; V, out of range, where nothing
      was read.
    episodes: the meta-batch with indices into `rows` instead of the table.
  """

  rows: dict[str, jax.Array]
  indices: dict[str, jax.Array]
  episodes: types.Episode


def gather(
    tables: types.Tables, meta_batch: types.Episode
) -> Gathered:
  """Gathers the distinct rows of each table that the meta-batch reads.

  Args:
    tables: [V, dimension] each.
    meta_batch: indexed; the leaves under a table's name are its row numbers,
      -1 for none.
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
    indices[name], positions[name] = _distinct(
        jnp.concatenate(parts), table.shape[0]
    )
    rows[name] = table.at[indices[name]].get(mode='fill', fill_value=0)

  def renumber(path, leaf):
    name = _table_name(path)
    if name not in ids:
      return leaf
    flat, positions[name] = jnp.split(positions[name], [leaf.size])
    return jnp.where(leaf < 0, leaf, flat.reshape(leaf.shape))

  episodes = jax.tree_util.tree_map_with_path(renumber, meta_batch)
  return Gathered(rows=rows, indices=indices, episodes=episodes)


def _distinct(
    ids: jax.Array, num_rows: int
) -> tuple[jax.Array, jax.Array]:
  """Returns distinct row numbers, [U], and where each id stands in them."""
  ids = jnp.where(ids < 0, num_rows, ids)  # Padding reads no row.
  if num_rows <= _WHOLE_TABLE_ROWS:
    occurs = jnp.zeros(num_rows, bool).at[ids].set(True, mode='drop')
    return jnp.where(occurs, jnp.arange(num_rows), num_rows), ids
  return jnp.unique(
      ids,
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
    row_grads: types.Array,
    indices: jax.Array,
) -> tuple[jax.Array, optax.OptState]:
  """Steps the optimizer on the gathered rows of one table alone.

  Args:
    optimizer: elementwise, e.g. Adam.
    table: [V, dimension].
    opt_state: of the whole table; only its gathered rows are read or written.
    rows: of the table, gathered, [U, dimension].
    row_grads: [U, dimension].
    indices: of the rows in the table, [U]; out of range: not written.

  Returns:
    The table and the state after the step.
  """
  is_row_wise = lambda leaf: leaf.ndim and leaf.shape[0] == table.shape[0]
  take = lambda x: x.at[indices].get(mode='fill', fill_value=0)
  put = lambda x, new: x.at[indices].set(new, mode='drop')
  row_state = jax.tree.map(
      lambda leaf: take(leaf) if is_row_wise(leaf) else leaf, opt_state
  )
  updates, row_state = optimizer.update(row_grads, row_state, rows)
  opt_state = jax.tree.map(
      lambda leaf, new: put(leaf, new) if is_row_wise(leaf) else new,
      opt_state,
      row_state,
  )
  return put(table, optax.apply_updates(rows, updates)), opt_state
