"""The loop: restore or create; dispatch, report the step before, save."""

from collections.abc import Callable
import functools
import json
import math
import pathlib
import time

import jax
import numpy as np

from limaml_jax import cluster
from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax import overrides
from limaml_jax.data import dataset
from limaml_jax.data import reader as reader_lib
from limaml_jax.training import announce
from limaml_jax.training import assembly as assembly_lib
from limaml_jax.training import checkpoint
from limaml_jax.training import judge as judge_lib
from limaml_jax.training import mesh as mesh_lib
from limaml_jax.training import run_config
from limaml_jax.training import state as state_lib
from limaml_jax.training import writers

NAN_REPORT_FILE = 'not_finite.json'
_KEPT = 4  # Compiled, a network holds thousands of memory mappings.

# (completed outer steps, outer steps of the run)
ProgressFn = Callable[[int, int], None]
# Number of completed outer steps -> whether to end there, with a checkpoint.
StopFn = Callable[[int], bool]


def train(
    config: config_lib.Config,
    table: dataset.TaskTable,
    info: dataset.DatasetInfo,
    workdir: pathlib.Path,
    *,
    stop_after: int | None = None,
    should_stop: StopFn = lambda done: False,
    on_progress: ProgressFn = lambda done, total: None,
) -> state_lib.TrainState:
  """Meta-trains, or resumes where the last checkpoint in `workdir` stands.

  Args:
    config: of the run.
    table: all tasks.
    info: of the dataset.
    workdir: receives checkpoints and metrics.
    stop_after: ends early, with a checkpoint, after this many outer steps.
    should_stop: asked after each step; to stop early changes nothing of what
      the run comes to when it goes on.
    on_progress: called after each outer step.

  Returns:
    The state after the last step, or the one where it was stopped.

  Raises:
    InputError: for a workdir of another run, or a log without training events.
    NotFiniteError: for a loss that is not finite.
  """
  _settle(workdir, config, info)
  assembly = assembly_lib.assemble(config, info)
  mesh_lib.check_divides(config.episodes.tasks_per_step, assembly.mesh)
  steps, plan = _make_reader(config, table, info, assembly)
  num_steps = len(steps)
  announce.run(config, plan)
  state, shardings, meta_update = prepare_update(config, assembly, num_steps)
  judge = judge_lib.make(
      config, table, info, assembly=assembly, shardings=shardings.params
  )
  last_step = min(num_steps, stop_after or num_steps)
  shapes = announce.Shapes(config, assembly)
  with checkpoint.Checkpoints(workdir, writes=True) as checkpoints:
    abstract = checkpoint.abstract(state, shardings)
    state = checkpoints.restore_newest(abstract) or state
    first_step = int(state.step)
    reader = reader_lib.iterate(steps, first_step)
    with writers.open_writer(workdir, resume_step=first_step) as writer:
      recorder = _Recorder(writer, workdir, config, num_steps, on_progress)
      for step in range(first_step + 1, last_step + 1):
        meta_batch = next(reader)
        shapes.see(state.params, meta_batch.episodes)
        on_devices = mesh_lib.put_by_task(meta_batch.episodes, assembly.mesh)
        state, metrics = meta_update(state, on_devices)
        recorder.report_previous(step, metrics, meta_batch.identity)
        stops = should_stop(step)
        if step % config.training.checkpoint_every == 0 or step == last_step:
          recorder.flush()
          judged = judge(state.params)
          recorder.record(step, judged)
          checkpoints.save(step, state, judged)
        elif stops:
          recorder.flush()
          checkpoints.save(step, state, {})
        if stops:
          break
    reader.close()
  return state


def _settle(workdir, config, info):
  """All processes look, the first one writes, and all have seen it."""
  run_config.settle(workdir, config, info, writes=cluster.is_first())
  cluster.wait_for_all('settled')
  path = workdir / run_config.CONFIG_FILE
  cluster.look_until(
      lambda: path.exists() or None,
      f'{path}: the first process wrote it, and it is not here',
  )
  run_config.settle(workdir, config, info, writes=False)


def _make_reader(config, table, info, assembly):
  """Returns the reader and its plan, of which no step is an error."""
  steps, plan = reader_lib.make_reader(
      table,
      info,
      names=assembly.names,
      config=config,
      tasks=mesh_lib.local_tasks(
          config.episodes.tasks_per_step, assembly.mesh
      ),
  )
  if not len(steps):
    raise errors.InputError(
        f'{info.name}: no training events under "{info.protocol}"; '
        'change the protocol'
    )
  return steps, plan


def prepare_update(
    config: config_lib.Config,
    assembly: assembly_lib.Assembly,
    num_steps: int,
) -> tuple[state_lib.TrainState, state_lib.TrainState, state_lib.MetaUpdate]:
  """Returns the initial state, its shardings, and the outer update.

  Args:
    config: of the run.
    assembly: its network.
    num_steps: that the learning rates fall over; they stay low thereafter.
  """
  create, shardings, meta_update = _compile(
      overrides.without_seed(config), assembly, num_steps
  )
  state = create(jax.random.key(config.training.seed))
  return state, shardings, meta_update


@functools.lru_cache(maxsize=_KEPT)
def _compile(config, assembly, num_steps):
  """Returns what runs of all seeds share; see `state`.

  It is traced and compiled when it is first called, once in a process.
  """
  optimizers = assembly_lib.make_optimizers(config, num_steps)
  create, shardings = state_lib.make_create(
      assembly.model.init, optimizers, assembly.mesh
  )
  meta_update = state_lib.make_meta_update(
      assembly_lib.make_meta_loss(
          config, assembly, objective=assembly.objective
      ),
      optimizers,
      index=assembly.model.index,
      shardings=shardings,
      mesh=assembly.mesh,
      memory_budget_bytes=config.training.memory_budget_bytes,
  )
  return create, shardings, meta_update


class _Recorder:
  """Fetches each step's metrics only once the next step is dispatched."""

  def __init__(self, writer, workdir, config, num_steps, on_progress):
    self._writer = writer
    self._workdir = workdir
    self._log_every = config.training.log_every
    self._ensemble_size = config.model.ensemble_size
    self._num_steps = num_steps
    self._on_progress = on_progress
    self._pending = None
    self._start = time.perf_counter()

  def report_previous(self, step, metrics, identity) -> None:
    """Reports the step before `step`, and keeps this one for later."""
    self.flush()
    self._pending = (step, metrics, identity)

  def flush(self) -> None:
    """Reports the pending step, and stops the run if it is not finite."""
    if self._pending is None:
      return
    step, metrics, identity = self._pending
    self._pending = None
    values = _flat_metrics(jax.device_get(metrics), self._ensemble_size)
    if not all(np.isfinite(list(values.values()))):
      self._stop(step, values, identity)
    if step % self._log_every == 0 or step in (1, self._num_steps):
      self._writer.write(step, time.perf_counter() - self._start, values)
    self._on_progress(step, self._num_steps)

  def record(self, step: int, values: dict[str, float]) -> None:
    """Records what else is known after a step, if anything."""
    if values:
      self._writer.write(step, time.perf_counter() - self._start, values)

  def _stop(self, step, values, identity) -> None:
    path = self._workdir / NAN_REPORT_FILE
    report = {
        'step': step,
        'metrics': {name: str(value) for name, value in values.items()},
        'episodes': identity.tolist(),
    }
    if cluster.is_first():
      path.write_text(json.dumps(report))
    raise errors.NotFiniteError(
        f'step {step}: the meta loss is not finite; its episodes are in '
        f'{path}. Lower inner_loop.learning_rate or outer_loop.learning_rate'
    )


def _flat_metrics(
    metrics: state_lib.StepMetrics, ensemble_size: int
) -> dict[str, float]:
  """Returns them by name, of an ensemble as they are of one member."""
  root = math.sqrt(ensemble_size)
  support_losses = {
      f'support_loss_{k}': float(loss)
      for k, loss in enumerate(metrics.support_losses)
  }
  return {
      'meta_loss': float(metrics.meta_loss) / ensemble_size,
      'query_loss': float(metrics.query_loss),
      'gradient_norm': float(metrics.gradient_norm) / root,
      'table_gradient_norm': float(metrics.table_gradient_norm) / root,
  } | support_losses
