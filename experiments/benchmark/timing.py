"""Seconds of a step, and what the machine could do in them at most."""

from collections.abc import Callable
import statistics
import time

import jax
import jax.numpy as jnp

_PEAK_SIZE = 2048


def time_steps(run: Callable[[], object], repeats: int) -> list[float]:
  """Returns the seconds that each of some runs took, after one untimed."""
  run()  # Takes its memory back from what ran before.
  seconds = []
  for _ in range(repeats):
    start = time.perf_counter()
    run()
    seconds.append(time.perf_counter() - start)
  return seconds


def in_ms(seconds: list[float]) -> dict[str, object]:
  """Returns the median and the least, in milliseconds."""
  return {
      'step_ms_median': round(1e3 * statistics.median(seconds), 2),
      'step_ms_min': round(1e3 * min(seconds), 2),
  }


def gemm_peak(repeats: int) -> float:
  """Returns what one large product of float32 matrices reaches, Gflop/s."""
  matrix = jnp.ones((_PEAK_SIZE, _PEAK_SIZE))
  product = jax.jit(jnp.matmul)
  run = lambda: jax.block_until_ready(product(matrix, matrix))
  best = min(time_steps(run, repeats))
  return round(2 * _PEAK_SIZE**3 / best / 1e9, 1)
