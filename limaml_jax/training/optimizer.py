"""Optimizers of the outer loop: one for dense parameters, one for tables."""

import jax
import optax

from limaml_jax import config as config_lib
from limaml_jax import types

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
    config: config_lib.OuterLoopConfig, num_steps: int
) -> optax.GradientTransformation:
  """AdamW with clipping, warm-up and cosine decay, for dense parameters."""
  return optax.chain(
      optax.clip_by_global_norm(config.gradient_clip),
      optax.adamw(
          _schedule(config.learning_rate, num_steps, config),
          weight_decay=config.weight_decay,
          mask=_is_kernel,
      ),
  )


def table_optimizer(
    config: config_lib.OuterLoopConfig, num_steps: int
) -> optax.GradientTransformation:
  """AdamW for gathered table rows; elementwise, so rows are independent."""
  return optax.adamw(
      _schedule(config.table_learning_rate, num_steps, config),
      weight_decay=config.weight_decay,
  )
