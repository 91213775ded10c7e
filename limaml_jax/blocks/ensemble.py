"""Ensemble: networks of one kind, trained beside each other, scored as one.

Members see the same episodes, start from parameters of their own, and never
read each other (after Lakshminarayanan et al. 2017, Simple and scalable
predictive uncertainty estimation using deep ensembles). A score is the sigmoid
of the mean of their logits; an entity's meta embedding is theirs, one after
another, E numbers in all.

Each function of the network is written for one member. Parameters of M members
have a leading axis M; only while they are trained, a table holds the members of
a row side by side, [V, M dimension], so that a row is fetched at once. Of one
member there is no axis.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp

from limaml_jax import types

_Function = TypeVar('_Function', bound=Callable)


def init(
    init_member: Callable[[jax.Array], types.BlockParams],
    key: jax.Array,
    size: int,
) -> types.BlockParams:
  """Returns parameters of `size` members, as they are trained."""
  if size == 1:
    return init_member(key)
  params = jax.vmap(init_member)(jax.random.split(key, size))
  side_by_side = {
      name: jnp.moveaxis(table, 0, 1).reshape(table.shape[1], -1)
      for name, table in params.tables.items()
  }
  return params._replace(tables=side_by_side)


def divide(params: types.BlockParams, size: int) -> types.BlockParams:
  """Returns parameters as they are read, each with a leading axis."""
  if size == 1:
    return params
  return params._replace(
      tables={
          name: jnp.moveaxis(table.reshape(table.shape[0], size, -1), 1, 0)
          for name, table in params.tables.items()
      }
  )


def member(
    params: types.BlockParams, number: int, size: int
) -> types.BlockParams:
  """Returns parameters of one member, as those of a network by itself."""
  if size == 1:
    return params
  return jax.tree.map(lambda leaf: leaf[number], divide(params, size))


def divide_embedding(embedding: jax.Array, size: int) -> jax.Array:
  """Returns what each member has of an embedding, [E] to [M, E / M]."""
  return embedding if size == 1 else embedding.reshape(size, -1)


def each(
    function: _Function, size: int, in_axes: int | Sequence[int | None] = 0
) -> _Function:
  """Returns what calls a member's function for all of them.

  Args:
    function: of one member.
    size: M.
    in_axes: as for `jax.vmap`.
  """
  return function if size == 1 else jax.vmap(function, in_axes)
