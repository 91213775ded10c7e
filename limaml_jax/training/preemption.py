"""Preemption: SIGTERM ends a run after its step, with a checkpoint.

Clusters send it some time before they take the machine away. To one process of
several it may come alone: then they agree on the step to end at.
"""

import contextlib
import signal
import types
from typing import Any

from jax.experimental import multihost_utils

from limaml_jax import cluster


class Watch(contextlib.AbstractContextManager):
  """While entered, notes SIGTERM instead of dying of it.

  Attributes:
    stopped: whether `should_stop` has said so.
  """

  def __init__(self):
    self._asked = False
    self.stopped = False
    self._before: Any = signal.SIG_DFL

  def __enter__(self):
    # Among several processes jax listens, from when they were joined.
    if cluster.place().count == 1:
      self._before = signal.signal(signal.SIGTERM, self._note)
    return self

  def __exit__(self, *_):
    if cluster.place().count == 1:
      signal.signal(signal.SIGTERM, self._before)

  def _note(self, number: int, frame: types.FrameType | None) -> None:
    del number, frame
    self._asked = True

  def should_stop(self, step: int) -> bool:
    """Says whether to end after `step`; all processes ask at every step."""
    if cluster.place().count > 1:
      self._asked |= multihost_utils.reached_preemption_sync_point(step)
    self.stopped |= self._asked
    return self._asked
