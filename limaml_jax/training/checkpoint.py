"""Checkpoints of meta-training: the state; its step is the reader's position.

WORKDIR/config.json      what the run was asked to do, and with which data
WORKDIR/checkpoints/N/   after N outer steps (Orbax)
"""

import contextlib
import json
import pathlib

from etils import epath
import jax
from orbax.checkpoint import v1 as ocp

from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax import overrides
from limaml_jax.data import dataset
from limaml_jax.training import state as state_lib

CONFIG_FILE = 'config.json'
# Where a run is computed, not what: it may go on with others.
_PLACEMENT = ('training.mesh_rows', 'training.memory_budget_bytes')
# Of the held-out episodes, in what `judge` finds; the lowest is the best.
HOLDOUT_LOSS = 'holdout_loss'
_CHECKPOINTS_DIR = 'checkpoints'
_KEPT = 2
_DATA = 'dataset fingerprint'
_ENCODING = 'dataset encoding'


def settle_config(
    workdir: pathlib.Path,
    config: config_lib.Config,
    info: dataset.DatasetInfo,
    *,
    writes: bool = True,
) -> None:
  """Writes config.json, or refuses to continue a run that was another.

  Args:
    workdir: of the run.
    config: of the run.
    info: of the dataset; to go on takes one of the same contents.
    writes: False where another process does.

  Raises:
    InputError: if `workdir` holds a run with other settings or data; it names
      the differences.
  """
  path = workdir / CONFIG_FILE
  wanted = overrides.flatten(config) | {
      _DATA: info.fingerprint,
      _ENCODING: info.encoding,
  }
  wanted = json.loads(json.dumps(wanted))
  if not path.exists():
    if not writes:
      return
    workdir.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix('.tmp')
    temporary.write_text(json.dumps(wanted, indent=2))
    temporary.replace(path)
    return
  found = _with_defaults(_read_config(path))
  differences = [
      f'{name} was {found.get(name)!r}, is {wanted.get(name)!r}'
      for name in sorted(found.keys() | wanted.keys())
      if found.get(name) != wanted.get(name) and name not in _PLACEMENT
  ]
  if differences:
    raise errors.InputError(
        f'{path}: this run was started differently: {"; ".join(differences)}. '
        'Choose another --workdir, or restore the settings to resume'
    )


def read_settings(workdir: pathlib.Path) -> dict:
  """Returns the settings of the run in `workdir`, by dotted name.

  Raises:
    InputError: if there is no run.
  """
  settings = _with_defaults(_find_config(workdir / CONFIG_FILE))
  return {n: v for n, v in settings.items() if n not in (_DATA, _ENCODING)}


def load_config(
    workdir: pathlib.Path, info: dataset.DatasetInfo
) -> config_lib.Config:
  """Reads the settings of the run in `workdir`, to restore its model.

  Args:
    workdir: of the run.
    info: of the dataset that the model is to read: the one that it was trained
      on, or another of the same encoding.

  Raises:
    InputError: if there is no run, or its data were encoded otherwise.
  """
  path = workdir / CONFIG_FILE
  settings = _find_config(path)
  settings.pop(_DATA, None)
  encoding = settings.pop(_ENCODING, None)
  if encoding != info.encoding:
    raise errors.InputError(
        f'{path}: the run was trained on data of encoding {encoding}, and'
        f' --data is of encoding {info.encoding}: its numbers mean something'
        ' else to the model; run `python -m experiments.prepare'
        ' --encoding_of=DIR` with the dataset that it was trained on, and pass'
        ' the result as --data'
    )
  return overrides.override(config_lib.Config(), settings)


def _find_config(path: pathlib.Path) -> dict:
  if not path.exists():
    raise errors.InputError(
        f'{path}: not found; run `python -m experiments.train` first'
    )
  return _read_config(path)


def _with_defaults(settings: dict) -> dict:
  """Adds settings newer than a run: their defaults are what was done before."""
  defaults = json.loads(json.dumps(overrides.flatten(config_lib.Config())))
  return defaults | settings


def _read_config(path: pathlib.Path) -> dict:
  try:
    settings = json.loads(path.read_text())
  except ValueError as error:
    raise errors.InputError(
        f'{path}: torn; restore it, or train into another --workdir'
    ) from error
  if not isinstance(settings, dict):
    raise errors.InputError(f'{path}: holds no settings')
  return settings


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
  ) -> state_lib.TrainState:
    """Restores the newest state, to go on from."""
    return self._load(self.latest_step, abstract_state)

  def restore_served(
      self, abstract_state: state_lib.TrainState
  ) -> state_lib.TrainState:
    """Restores the state that is served: the best judged, else the newest.

    Raises:
      InputError: if there is no checkpoint.
    """
    if self.latest_step is None:
      raise errors.InputError(
          f'{self._checkpointer.directory}: no checkpoint; run '
          '`python -m experiments.train` first'
      )
    return self._load(self.best_step, abstract_state)

  def _load(
      self, step: int | None, wanted: state_lib.TrainState
  ) -> state_lib.TrainState:
    context = ocp.Context()
    # Tables have as many rows of padding as their mesh takes.
    context.array.loading.enable_padding_and_truncation = True
    try:
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


def abstract(
    state: state_lib.TrainState, shardings: state_lib.TrainState
) -> state_lib.TrainState:
  """Describes where and in what shape a state is to be restored."""
  describe = lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s)
  return jax.tree.map(describe, state, shardings)
