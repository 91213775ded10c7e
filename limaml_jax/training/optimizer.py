"""Optimizers of the outer loop: one for dense parameters, one for tables."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.blocks import ensemble

_FINAL_FRACTION = 0.1  # Of the peak rate, at the last step.


def _schedule(
    peak: float, num_steps: int, config: config_lib.OuterLoopConfig
) -> optax.Schedule:
  warmup_steps = int(config.warmup_fraction * num_steps)
  return optax.warmup_cosine_decay_schedule(
      init_value=0.0 if warmup_steps else peak,
      peak_value=peak,
      warmup_steps=warmup_steps,
      decay_steps=max(num_steps, warmup_steps + 1),
      end_value=peak * _FINAL_FRACTION,
  )


def _is_kernel(params: types.Params) -> types.Params:
  """Marks arrays with two or more axes: weight decay spares the biases."""
  return jax.tree.map(lambda p: p.ndim > 1, params)


def dense_optimizer(
    config: config_lib.OuterLoopConfig,
    num_steps: int,
    *,
    ensemble_size: int = 1,
) -> optax.GradientTransformation:
  """AdamW with clipping, warm-up and cosine decay, for dense parameters.

  Each member of an ensemble is clipped by itself.
  """
  of_member = optax.chain(
      optax.clip_by_global_norm(config.gradient_clip),
      optax.adamw(
          _schedule(config.learning_rate, num_steps, config),
          weight_decay=config.weight_decay,
          mask=_is_kernel,
      ),
  )
  return optax.GradientTransformation(
      ensemble.each(of_member.init, ensemble_size),
      ensemble.each(of_member.update, ensemble_size),
  )


def table_optimizer(
    config: config_lib.OuterLoopConfig, num_steps: int
) -> optax.GradientTransformation:
  """Optimizer for gathered table rows, each of which it steps by itself."""
  scalings = {
      'adam': scale_by_row_adam,
      'row_wise_adagrad': scale_by_row_wise_adagrad,
  }
  return optax.chain(
      scalings[config.table_optimizer](),
      optax.add_decayed_weights(config.weight_decay),
      optax.scale_by_learning_rate(
          _schedule(config.table_learning_rate, num_steps, config)
      ),
  )


class RowAdamState(NamedTuple):
  """State of `scale_by_row_adam`.

  Attributes:
    count: of steps, [].
    moments: first and second of each row, side by side: [V, 2, dimension].
  """

  count: jax.Array
  moments: jax.Array


def scale_by_row_adam(
    b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
  """Adam (Kingma & Ba 2015) as optax's, with a row's moments in one place.

  Rows of a large table lie far apart, and a step's time with it is in finding
  them: both moments are found at once.

  Args:
    b1: decay of the first moment.
    b2: decay of the second moment.
    eps: added to the root of the second.
  """

  def init(params):
    shape = (params.shape[0], 2, *params.shape[1:])
    return RowAdamState(
        jnp.zeros((), jnp.int32), jnp.zeros(shape, params.dtype)
    )

  def update(updates, state, params=None):
    del params
    count = jnp.asarray(optax.safe_increment(state.count))
    before = state.moments
    first = optax.tree.update_moment(updates, before[:, 0], b1, 1)
    second = optax.tree.update_moment(updates, before[:, 1], b2, 2)
    mean = optax.tree.bias_correction(first, b1, count)
    mean_square = optax.tree.bias_correction(second, b2, count)
    scaled = mean / (jnp.sqrt(mean_square) + eps)
    return scaled, RowAdamState(count, jnp.stack([first, second], axis=1))

  return optax.GradientTransformation(init, update)


class RowWiseAdagradState(NamedTuple):
  """State of `scale_by_row_wise_adagrad`.

  Attributes:
    sums: of each row's mean squared gradients so far, [V, 1].
  """

  sums: jax.Array


def scale_by_row_wise_adagrad(
    eps: float = 1e-8,
) -> optax.GradientTransformation:
  """Divides a row's gradient by the root of what its mean squares sum to.

  One number of state for each row, whatever its dimension (Gupta et al. 2014,
  Training highly multiclass classifiers). A row's first step is of the size
  of the learning rate, as Adam's.

  Args:
    eps: keeps a row without gradients where it is.
  """

  def init(params):
    return RowWiseAdagradState(jnp.zeros((params.shape[0], 1), params.dtype))

  def update(updates, state, params=None):
    del params
    squares = jnp.mean(jnp.square(updates), axis=-1, keepdims=True)
    sums = state.sums + squares
    return updates / (jnp.sqrt(sums) + eps), RowWiseAdagradState(sums)

  return optax.GradientTransformation(init, update)
