"""One optimizer step on some rows of a table, the rest untouched."""

from typing import NamedTuple

import jax
import optax


class RowState(NamedTuple):
  """A table, or one device's rows of it, and its optimizer's state.

  Attributes:
    table: [V, dimension].
    opt_state: leaves [V, ...], and some that are of no row.
  """

  table: jax.Array
  opt_state: optax.OptState

  def map_rows(self, function) -> optax.OptState:
    """Returns the state with `function` of each leaf that has rows."""
    return jax.tree.map(
        lambda leaf: function(leaf) if self.has_rows(leaf) else leaf,
        self.opt_state,
    )

  def with_shared_of(self, other: 'RowState') -> 'RowState':
    """Returns these rows, with what is of no row as `other` has it."""
    choose = lambda mine, its: mine if self.has_rows(mine) else its
    return self._replace(
        opt_state=jax.tree.map(choose, self.opt_state, other.opt_state)
    )

  def take(self, indices: jax.Array) -> jax.Array:
    """Returns rows of the table, 0 where an index is out of range."""
    return _take(self.table, indices)

  def has_rows(self, leaf) -> bool:
    """Says whether a leaf of the optimizer's state has a row for each row."""
    return leaf.ndim and leaf.shape[0] == self.table.shape[0]


def _take(leaf: jax.Array, indices: jax.Array) -> jax.Array:
  return leaf.at[indices].get(mode='fill', fill_value=0)


def step(
    optimizer: optax.GradientTransformation,
    state: RowState,
    rows: jax.Array,
    row_grads: jax.Array,
    indices: jax.Array,
) -> RowState:
  """Steps the rows that are given; no other is read or written.

  Args:
    optimizer: elementwise.
    state: of the table.
    rows: of the table at `indices`, [U, dimension].
    row_grads: [U, dimension].
    indices: distinct, [U]; out of range: not written.
  """
  row_state = state.map_rows(lambda leaf: _take(leaf, indices))
  updates, row_state = optimizer.update(row_grads, row_state, rows)
  put = lambda leaf, new: leaf.at[indices].set(new, mode='drop')
  return RowState(
      put(state.table, optax.apply_updates(rows, updates)),
      jax.tree.map(
          lambda leaf, new: put(leaf, new) if state.has_rows(leaf) else new,
          state.opt_state,
          row_state,
      ),
  )
