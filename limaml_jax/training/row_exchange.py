"""Rows of tables that lie on other devices: fetched, and their gradients sent.

A table is divided by row over mesh axis `rows`: the o-th device along it owns
the o-th block. Along axis `tasks` each device has a copy of its block, which
gets the same step there. Left to the compiler, each device would be sent every
row and every gradient of the meta-batch; here it is sent its own.

What one device wants of another varies, and shapes do not: so a message has
room for C rows, and what does not fit goes with the next round. The gradients
of a row travel in the same round from all devices, so that it is stepped once.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from limaml_jax.training import mesh as mesh_lib
from limaml_jax.training import row_step

# Standard deviations of room over an even share of the rows that are asked of
# a device, which are some 1.2 times it, or more where the share is small. A
# second round is rare: ids that occur again and padding ask for no row.
_DEVIATIONS = 6


class Axes(NamedTuple):
  """Number of devices along the axes of the mesh.

  Attributes:
    tasks: along axis `tasks`.
    rows: along axis `rows`.
  """

  tasks: int = 1
  rows: int = 1

  @property
  def size(self) -> int:
    """Of all devices."""
    return self.tasks * self.rows


ONE_DEVICE = Axes()


def room(num_indices: int, block_rows: int, axes: Axes) -> int:
  """Returns C, how many of U rows a message to one device has room for.

  Args:
    num_indices: U.
    block_rows: that a device has.
    axes: of the mesh.
  """
  share = num_indices / axes.rows
  size = math.ceil(share + _DEVIATIONS * math.sqrt(share))
  return min(num_indices, block_rows, size)


def axes_of(mesh: jax.sharding.Mesh) -> Axes:
  """Returns the numbers of devices of a mesh."""
  return Axes(mesh.shape[mesh_lib.TASKS], mesh.shape[mesh_lib.ROWS])


class _Outbox(NamedTuple):
  """What a device has to say to each of the others along axis `rows`.

  Attributes:
    indices: of rows in the table, ascending, [U]; V for none.
    begin: where those of each owner begin in `indices`, [R].
    end: where they end, [R].
  """

  indices: jax.Array
  begin: jax.Array
  end: jax.Array

  def slots(self, size: int) -> jax.Array:
    """Returns positions in `indices` of what goes next, [R, C]; U for none."""
    position = self.begin[:, None] + jnp.arange(size)
    return jnp.where(
        position < self.end[:, None], position, self.indices.size
    )

  def at(self, slots: jax.Array, num_rows: int) -> jax.Array:
    """Returns the indices at some slots, V for none."""
    return self.indices.at[slots].get(mode='fill', fill_value=num_rows)

  def is_empty(self) -> jax.Array:
    """Says whether no device of the mesh has anything left to say."""
    left = jnp.any(self.begin < self.end)
    return jax.lax.pmax(left.astype(jnp.int32), mesh_lib.AXES) == 0


def _open(indices: jax.Array, block_rows: int, axes: Axes) -> _Outbox:
  edges = jnp.arange(axes.rows + 1, dtype=indices.dtype) * block_rows
  bounds = jnp.searchsorted(indices, edges).astype(jnp.int32)
  return _Outbox(indices, bounds[:-1], bounds[1:])


def _swap(message: jax.Array) -> jax.Array:
  """Sends message[o], of leading axis R, to device o; returns what came."""
  return jax.lax.all_to_all(
      message, mesh_lib.ROWS, split_axis=0, concat_axis=0, tiled=True
  )


def _own(indices: jax.Array, block_rows: int) -> jax.Array:
  """Returns where rows stand in this device's block; out of range: not here."""
  position = indices - jax.lax.axis_index(mesh_lib.ROWS) * block_rows
  here = (position >= 0) & (position < block_rows)
  return jnp.where(here, position, block_rows)


def fetch(block: jax.Array, indices: jax.Array, axes: Axes) -> jax.Array:
  """Returns rows of the table wherever they lie, [U, dimension].

  Args:
    block: this device's rows, [V / R, dimension].
    indices: of the rows, ascending, [U]; V for none, which is 0.
    axes: of the mesh.
  """
  take = lambda where: block.at[where].get(mode='fill', fill_value=0)
  if axes.rows == 1:
    return take(indices)
  block_rows, dimension = block.shape
  num_rows = block_rows * axes.rows
  size = room(indices.size, block_rows, axes)

  def ask(carry):
    rows, outbox, _ = carry
    slots = outbox.slots(size)
    asked = _swap(outbox.at(slots, num_rows))
    answers = _swap(take(_own(asked, block_rows)))
    rows = rows.at[slots].set(answers, mode='drop')
    outbox = outbox._replace(begin=outbox.begin + size)
    return rows, outbox, outbox.is_empty()

  rows = jnp.zeros((indices.size, dimension), block.dtype)
  start = rows, _open(indices, block_rows, axes), jnp.array(False)
  return jax.lax.while_loop(lambda carry: ~carry[-1], ask, start)[0]


def fetch_whole(block: jax.Array, indices: jax.Array, axes: Axes) -> jax.Array:
  """Returns the rows of a small table, all of it; arguments as of `fetch`."""
  table = block
  if axes.rows > 1:
    table = jax.lax.all_gather(block, mesh_lib.ROWS, tiled=True)
  return table.at[indices].get(mode='fill', fill_value=0)


def deliver(
    optimizer: optax.GradientTransformation,
    state: row_step.RowState,
    row_grads: jax.Array,
    indices: jax.Array,
    axes: Axes,
) -> tuple[row_step.RowState, jax.Array]:
  """Sends gradients to where their rows lie, and steps those.

  Args:
    optimizer: elementwise.
    state: of this device's rows.
    row_grads: this device's part of the gradients, [U, dimension].
    indices: of the rows, ascending, [U]; V for none.
    axes: of the mesh.

  Returns:
    The state after the step, and the sum of all squared gradients, [].
  """
  block_rows = state.table.shape[0]
  num_rows = block_rows * axes.rows
  size = room(indices.size, block_rows, axes)
  before = state

  def send(carry):
    state, outbox, squares, _ = carry
    now = outbox._replace(end=_last_of_round(outbox, size, block_rows))
    slots = now.slots(size)
    grads = row_grads.at[slots].get(mode='fill', fill_value=0)
    own, sums = _receive(now.at(slots, num_rows), grads, block_rows, axes)
    stepped = row_step.step(
        optimizer, state.with_shared_of(before), state.take(own), sums, own
    )
    outbox = outbox._replace(begin=now.end)
    squares += jnp.sum(jnp.square(sums))
    return stepped, outbox, squares, outbox.is_empty()

  outbox = _open(indices, block_rows, axes)
  carry = state, outbox, jnp.zeros((), row_grads.dtype), jnp.array(False)
  if axes.rows == 1:
    state, _, squares, _ = send(carry)
    return state, squares
  carry = jax.lax.while_loop(lambda carry: ~carry[-1], send, carry)
  return carry[0], jax.lax.psum(carry[2], mesh_lib.ROWS)


def _last_of_round(
    outbox: _Outbox, size: int, block_rows: int
) -> jax.Array:
  """Returns where each owner's part of a round ends, [R].

  All devices end at the same row: the first one that does not fit on some.
  """
  after = outbox.begin + size
  block_end = (jnp.arange(outbox.begin.size) + 1) * block_rows
  first_left = jnp.where(
      after < outbox.end,
      outbox.indices.at[after].get(mode='clip'),
      block_end.astype(outbox.indices.dtype),
  )
  cut = jax.lax.pmin(first_left, mesh_lib.AXES)
  end = jnp.searchsorted(outbox.indices, cut).astype(jnp.int32)
  return jnp.clip(end, outbox.begin, outbox.end)


def _receive(
    indices: jax.Array, grads: jax.Array, block_rows: int, axes: Axes
) -> tuple[jax.Array, jax.Array]:
  """Returns own rows that gradients came for, and the sums of those.

  Args:
    indices: of rows, by owner, [R, C].
    grads: of them, [R, C, dimension].
    block_rows: rows of a device.
    axes: of the mesh.
  """
  if axes.rows > 1:
    indices, grads = _swap(indices), _swap(grads)
  indices = _own(indices, block_rows).ravel()
  grads = grads.reshape(indices.size, -1)
  if axes.tasks > 1:
    indices, grads = jax.lax.all_gather(
        (indices, grads), mesh_lib.TASKS, tiled=True
    )
  own, position = jnp.unique(
      indices,
      size=min(indices.size, block_rows + 1),
      fill_value=block_rows,
      return_inverse=True,
  )
  return own, jax.ops.segment_sum(grads, position, num_segments=own.size)


def deliver_whole(
    optimizer: optax.GradientTransformation,
    state: row_step.RowState,
    row_grads: jax.Array,
    indices: jax.Array,
    axes: Axes,
) -> tuple[row_step.RowState, jax.Array]:
  """As `deliver`, of a small table that each device fetched whole: U is V."""
  block_rows = state.table.shape[0]
  occurs = (indices < block_rows * axes.rows).astype(jnp.int32)
  occurs = jax.lax.pmax(occurs, mesh_lib.AXES)
  grads = jax.lax.psum(row_grads, mesh_lib.AXES)
  begin = jax.lax.axis_index(mesh_lib.ROWS) * block_rows
  cut = lambda x: jax.lax.dynamic_slice_in_dim(x, begin, block_rows)
  own = jnp.where(cut(occurs) > 0, jnp.arange(block_rows), block_rows)
  state = row_step.step(optimizer, state, state.take(own), cut(grads), own)
  return state, jnp.sum(jnp.square(grads))
