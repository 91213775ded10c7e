"""Checkpoints of meta-training: the state; its step is the reader's position.

WORKDIR/checkpoints/N/   after N outer steps (Orbax)
"""

import contextlib
import pathlib
from typing import Any

from etils import epath
import jax
from orbax.checkpoint import v1 as ocp

from limaml_jax import cluster
from limaml_jax import errors
from limaml_jax import types
from limaml_jax.training import state as state_lib

# Of the held-out episodes, in what `judge` finds; the lowest is the best.
HOLDOUT_LOSS = 'holdout_loss'
_CHECKPOINTS_DIR = 'checkpoints'
_KEPT = 2
# Names of arrays that have a row for each row of a table.
_BY_ROW = ('params/tables/', 'table_opt_states/')


class Checkpoints(contextlib.AbstractContextManager):
  """Saves and restores the state of one run, on any mesh."""

  def __init__(self, workdir: pathlib.Path, *, writes: bool = False):
    """Opens the checkpoints of a run.

    Args:
      workdir: of the run.
      writes: cleans up what an interrupted save left; only the one process
        that trains may.
    """
    directory = epath.Path(workdir.absolute() / _CHECKPOINTS_DIR)
    every_step = ocp.training.save_decision_policies.FixedIntervalPolicy(1)
    policies = ocp.training.preservation_policies
    best = policies.BestN(
        get_metric_fn=lambda metrics: metrics[HOLDOUT_LOSS],
        reverse=True,
        n=1,
        keep_checkpoints_without_metrics=False,
    )
    kept = policies.AnyPreservationPolicy([policies.LatestN(_KEPT), best])
    # The policies satisfy the protocols, but for the names of type variables.
    self._checkpointer = ocp.training.Checkpointer(
        directory,
        save_decision_policy=every_step,  # pyrefly: ignore
        preservation_policy=kept,  # pyrefly: ignore
        cleanup_tmp_directories=writes,
    )

  def __exit__(self, *_):
    self._checkpointer.close()

  @property
  def latest_step(self) -> int | None:
    """Number of outer steps in the newest checkpoint, None without any."""
    latest = self._checkpointer.latest
    return None if latest is None else latest.step

  @property
  def best_step(self) -> int | None:
    """Of the checkpoint that is served: the best judged, else the newest."""
    losses = {
        one.step: float(one.metrics[HOLDOUT_LOSS])  # pyrefly: ignore
        for one in self._checkpointer.checkpoints
        if one.metrics
    }
    return min(losses, key=losses.__getitem__) if losses else self.latest_step

  def save(
      self,
      step: int,
      state: state_lib.TrainState,
      judged: dict[str, float],
  ) -> None:
    """Saves after `step` completed outer steps; a step is saved once.

    Args:
      step: number of outer steps.
      state: after them.
      judged: of `judge`, empty if it was not asked.
    """
    if step == self.latest_step:
      return
    # Waits: the state is donated to the next step.
    saved = self._checkpointer.save_checkpointables(
        step, {'state': state}, metrics={**judged} or None
    )
    if not saved:
      raise RuntimeError(f'Orbax declined to save step {step}')

  def restore_newest(
      self, abstract_state: state_lib.TrainState
  ) -> state_lib.TrainState | None:
    """Restores the newest state, to go on from; None without any."""
    step = self._agree(self.latest_step)
    return None if step is None else self._load(step, abstract_state)

  def restore_served(
      self, abstract_state: state_lib.TrainState
  ) -> state_lib.TrainState:
    """Restores the state that is served: the best judged, else the newest.

    Raises:
      InputError: if there is no checkpoint.
    """
    return self._load(self._served_step(), abstract_state)

  def restore_params(
      self, abstract_params: types.BlockParams
  ) -> types.BlockParams:
    """Restores the parameters that are served, and no optimizer's state.

    Raises:
      InputError: if there is no checkpoint.
    """
    wanted = {'params': abstract_params}
    return self._load(self._served_step(), wanted)['params']

  def _served_step(self) -> int:
    step = self._agree(self.best_step)
    if step is None:
      raise errors.InputError(
          f'{self._checkpointer.directory}: no checkpoint; run '
          '`python -m experiments.train` first'
      )
    return step

  def _agree(self, step: int | None) -> int | None:
    """Returns the first process's step, once the checkpoint is seen here."""
    if cluster.is_first():
      cluster.tell({'step': step})
      return step
    step = cluster.hear()['step']

    def look():
      self._checkpointer.reload()
      steps = {one.step for one in self._checkpointer.checkpoints}
      return True if step is None or step in steps else None

    path = self._checkpointer.directory / str(step)
    cluster.look_until(look, f'{path}: this checkpoint is not here')
    return step

  def _load(self, step: int, wanted: Any) -> Any:
    """Restores a state, or what a dict names of it."""
    context = ocp.Context()
    # Tables have as many rows of padding as their mesh takes.
    context.array.loading.enable_padding_and_truncation = True
    context.pytree.loading.partial_load = isinstance(wanted, dict)
    try:
      stored = self._checkpointer.checkpointables_metadata(step).metadata
      _check_shapes(stored['state'], wanted)
      with context:
        restored = self._checkpointer.load_checkpointables(
            step, {'state': wanted}
        )
      return restored['state']
    except Exception as error:  # Orbax raises whatever its storage does.
      reason = str(error).strip().splitlines() or [repr(error)]
      path = self._checkpointer.directory / str(step)
      raise errors.InputError(
          f'{path}: this checkpoint cannot be read: {reason[0][:200]}. If it '
          'is torn, delete it, and training resumes from the one before; one '
          'of another version of this program is read by that version alone'
      ) from error


def _check_shapes(stored: Any, wanted: Any) -> None:
  """Raises ValueError for an array that is not of its shape.

  The rows of tables, and of what is kept of them, may be more or fewer.
  """
  shapes = {_name(p): x.shape for p, x in _leaves(stored)}
  for path, leaf in _leaves(wanted):
    name = _name(path)
    begin = 1 if name.startswith(_BY_ROW) else 0
    found, expected = shapes.get(name), leaf.shape
    if found is not None and found[begin:] != expected[begin:]:
      raise ValueError(f'{name} is of shape {found}, not {expected}')


_leaves = jax.tree_util.tree_leaves_with_path


def _name(path: tuple) -> str:
  return jax.tree_util.keystr(path, simple=True, separator='/')


def abstract(
    state: state_lib.TrainState, shardings: state_lib.TrainState
) -> state_lib.TrainState:
  """Describes where and in what shape a state is to be restored."""
  describe = lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s)
  return jax.tree.map(describe, state, shardings)
