"""Exact inner loop that never forms a task's kernels (METHOD, section 3).

An inner step changes a dense layer's kernel by a product of two thin arrays:
the rows that the layer met, and the cotangents at its output. Those factors
are what a task keeps. Everything else that adapts (biases, scales, offsets) is
as small as one row, and is kept whole.
"""

from collections.abc import Callable
from collections.abc import Mapping
import functools
from typing import Any

import jax

from limaml_jax import types
from limaml_jax.linear import low_rank_kernel
from limaml_jax.meta import plain

# Where an array lies in the parameters, e.g. "['user']['Dense_0']['kernel']".
Path = str


def adapt(
    meta_params: types.Params,
    global_params: types.Params,
    support: types.Examples,
    *,
    loss_fn: types.TaskLossFn,
    learning_rates: types.Params,
    first_order: bool,
    remat: bool,
    num_rows: Mapping[Path, int],
) -> tuple[list[types.Params], jax.Array]:
  """Runs K gradient steps on the meta block of a single task.

  As `plain.adapt`, but the kernels named in `num_rows` come back as
  `LowRankKernel`, which `linear.low_rank_kernel.matmul` and `@` apply.

  Args:
    meta_params: shared initialization of the meta block.
    global_params: global block, constant here.
    support: support set, leaves [S, ...].
    loss_fn: mean loss of one task.
    learning_rates: shaped like `meta_params`, leaves [K].
    first_order: treats the inner gradients as constants (FOMAML).
    remat: recomputes each step in the backward pass.
    num_rows: R of each kernel that is adapted by factors.
  """

  def step(params, rates):
    wanted = _map(_wanted, num_rows, params)
    loss, grads = jax.value_and_grad(
        lambda wanted: loss_fn(
            _map(_insert, num_rows, params, wanted), global_params, support
        )
    )(wanted)
    if first_order:
      grads = jax.lax.stop_gradient(grads)
    return _map(_descend, num_rows, params, rates, grads), loss

  return plain.run_steps(
      jax.checkpoint(step) if remat else step,
      _map(_start, num_rows, meta_params),
      learning_rates,
  )


def find_kernels(
    meta_params: types.Params,
    global_params: types.Params,
    support: types.Examples,
    *,
    loss_fn: types.TaskLossFn,
) -> tuple[dict[Path, int], dict[Path, str]]:
  """Finds which kernels the low-rank form can express, without computing.

  Such a kernel is a matrix that the loss reads once, as `rows @ kernel`.

  Returns:
    R of each of them, and of each other array of two axes or more why not.
  """
  num_rows, refused = {}, {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(meta_params):
    name = jax.tree_util.keystr(path)
    if leaf.ndim < 2:
      continue
    if leaf.ndim > 2:
      refused[name] = f'has {leaf.ndim} axes'
      continue
    probed_loss = functools.partial(
        _probed_loss, name, low_rank_kernel.Probe(leaf), loss_fn
    )
    try:
      traced = jax.make_jaxpr(probed_loss)(meta_params, global_params, support)
      met = low_rank_kernel.count_rows(traced.jaxpr)
    except (
        TypeError, AttributeError, ValueError, NotImplementedError
    ) as error:  # fmt: skip
      # Whatever a loss does to a kernel that it cannot do to a probe. What is
      # wrong with the loss itself will be said when it runs plainly.
      refused[name] = str(error).partition('\n')[0]
      continue
    if len(met) == 1:
      num_rows[name] = met[0]
    else:
      refused[name] = f'is applied {len(met)} times, not once'
  return num_rows, refused


def _probed_loss(name, probe, loss_fn, meta_params, global_params, support):
  """Computes the loss with a probe in place of one kernel."""
  replace = lambda leaf, is_probed: probe if is_probed else leaf
  probed = _map(replace, {name: True}, meta_params)
  return loss_fn(probed, global_params, support)


def _map(
    function: Callable[..., Any],
    num_rows: Mapping[Path, int],
    first: types.Params,
    *others: types.Params,
) -> types.Params:
  """Maps function(leaf, ..., R or 0) over parameters, kernels being leaves."""
  is_kernel = lambda leaf: isinstance(leaf, low_rank_kernel.LowRankKernel)
  leaves, structure = jax.tree_util.tree_flatten_with_path(
      first, is_leaf=is_kernel
  )
  rest = [structure.flatten_up_to(other) for other in others]
  return jax.tree.unflatten(
      structure,
      [
          function(leaf, *more, num_rows.get(jax.tree_util.keystr(path), 0))
          for (path, leaf), *more in zip(leaves, *rest, strict=True)
      ],
  )


def _start(leaf, num_rows):
  return low_rank_kernel.LowRankKernel(leaf) if num_rows else leaf


def _wanted(leaf, num_rows):
  return low_rank_kernel.zeros(num_rows, leaf.shared) if num_rows else leaf


def _insert(leaf, wanted, num_rows):
  return leaf._replace(gradient=wanted) if num_rows else wanted


def _descend(leaf, rate, gradient, num_rows):
  if not num_rows:
    return leaf - rate * gradient
  change = gradient._replace(cotangents=-rate * gradient.cotangents)
  return leaf._replace(changes=(*leaf.changes, change))

