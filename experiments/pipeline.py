"""The steps that several binaries take: load, train, restore, serve."""

from collections.abc import Callable
import functools
import pathlib
from typing import Any
from typing import NamedTuple

import jax
import numpy as np

from limaml_jax import cluster
from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax import overrides
from limaml_jax import types
from limaml_jax.blocks import ensemble
from limaml_jax.data import dataset
from limaml_jax.data import episodes
from limaml_jax.data import prepare as prepare_lib
from limaml_jax.data.tasks import task_table
from limaml_jax.evaluation import replay
from limaml_jax.evaluation import scores as scores_lib
from limaml_jax.export import calibration
from limaml_jax.export import program
from limaml_jax.export import scorer as scorer_lib
from limaml_jax.refresh import refresher as refresher_lib
from limaml_jax.store import address
from limaml_jax.store import lookup
from limaml_jax.store import snapshot
from limaml_jax.training import assembly as assembly_lib
from limaml_jax.training import checkpoint
from limaml_jax.training import loop
from limaml_jax.training import mesh as mesh_lib
from limaml_jax.training import run_config
from limaml_jax.training import state as state_lib

SCHEMAS = pathlib.Path(__file__).parent / 'schemas'
STORE_DIR = 'store'
# Snapshots of an evaluation's replay, apart from those that are served.
REPLAY_STORE_DIR = 'replay_store'
# Of what a run was trained on: for `prepare --encoding_of`.
ENCODING_DIR = 'encoding'
# Of a refresh that is not finished, and the gate's last verdict.
REFRESH_DIR = 'refresh'

OnProgress = Callable[[int, int], None]


class Dataset(NamedTuple):
  """A prepared dataset, loaded."""

  directory: pathlib.Path
  info: dataset.DatasetInfo
  table: dataset.TaskTable


def schema_path(name: str) -> pathlib.Path:
  """Finds a schema: a path, or the name of one under experiments/schemas.

  Raises:
    InputError: if there is neither.
  """
  for path in (pathlib.Path(name), SCHEMAS / f'{name}.toml'):
    if path.is_file():
      return path
  known = ', '.join(sorted(path.stem for path in SCHEMAS.glob('*.toml')))
  raise errors.InputError(
      f'data.schema is {name!r}: no such file; pass a path or one of {known}'
  )


def prepare(
    config: config_lib.Config,
    data_dir: pathlib.Path,
    output: pathlib.Path,
    on_progress: prepare_lib.Progress | None = None,
    **options: Any,
) -> dataset.DatasetInfo:
  """Makes the dataset of a configuration, unless it is there.

  Args:
    config: of the experiment.
    data_dir: that the files of its schema are relative to.
    output: receives the dataset.
    on_progress: told of each step.
    **options: of `prepare_lib.prepare`, such as `memory_limit`.
  """
  return prepare_lib.prepare(
      schema_path(config.data.schema),
      data_dir,
      output,
      data=config.data,
      protocol=config.protocol,
      on_progress=on_progress,
      **options,
  )


def load(directory: str | pathlib.Path) -> Dataset:
  """Loads a prepared dataset into memory."""
  directory = pathlib.Path(directory)
  return Dataset(
      directory, dataset.load_info(directory), task_table.load(directory)
  )


def check_validation(data: Dataset) -> None:
  """Raises InputError for a dataset that has test events in it."""
  # The first word of a protocol is its phase.
  if not data.info.protocol.startswith('validation:'):
    raise errors.InputError(
        f'{data.directory}: settings are chosen on the validation window alone;'
        ' prepare another dataset with --config.protocol.phase=validation'
    )


def entity_features(data: Dataset) -> types.HostFeatures:
  """Returns features of all entities; of one that changes, the latest value."""
  table = data.table
  features = dict(table.entity_features)
  last = np.maximum(table.offsets[1:] - 1, 0)
  has_none = table.offsets[1:] == table.offsets[:-1]
  for spec in data.info.features:
    if spec.owner == 'entity' and spec.name in table.event_features:
      values = table.event_features[spec.name][last]
      values[has_none] = episodes.unknown(values)
      features[spec.name] = values
  return features


def train(
    config: config_lib.Config,
    data: Dataset,
    workdir: pathlib.Path,
    **options: Any,
) -> state_lib.TrainState:
  """Trains a run, or resumes it, and keeps the encoding that it reads.

  Args:
    config: of the run.
    data: its dataset.
    workdir: of the run.
    **options: of `loop.train`, such as `on_progress`.
  """
  state = loop.train(config, data.table, data.info, workdir, **options)
  if cluster.is_first():
    dataset.copy_encoding(data.directory, workdir / ENCODING_DIR)
  cluster.wait_for_all('trained')
  return state


class Served(NamedTuple):
  """A trained model and all that serves it.

  Attributes:
    config: of its run.
    refresher: publishes its embeddings.
    half: its global block and embedding tables.
    scorer: that scores with them.
    assembly: its network.
    params: its parameters.
  """

  config: config_lib.Config
  refresher: refresher_lib.Refresher
  half: program.GlobalHalf
  scorer: scorer_lib.Scorer
  assembly: assembly_lib.Assembly
  params: types.BlockParams


def restore(
    data: Dataset,
    workdir: pathlib.Path,
    *,
    store: str | pathlib.Path,
    adapt: bool = True,
    dtype: str = 'float32',
) -> Served:
  """Restores a run, ready to refresh and score.

  Its checkpoint is the best judged by a holdout, the newest without one; its
  scores are calibrated if `calibrate` was run.

  Args:
    data: of the encoding that the run was trained on, its contents the same or
      others.
    workdir: of the run.
    store: address of the feature store, which is not opened yet.
    adapt: serves unadapted embeddings when False.
    dtype: that vectors are stored in.

  Raises:
    InputError: if there is no run, or `data` is encoded otherwise.
  """
  config = run_config.load(workdir, data.info)
  num_devices = jax.local_device_count()
  chunk = -(-config.refresh.entities_per_chunk // num_devices) * num_devices
  config = overrides.override(config, {'refresh.entities_per_chunk': chunk})
  assembly = assembly_lib.assemble(config, data.info, mesh_rows=1)
  abstract = assembly_lib.abstract_state(config, assembly)
  with checkpoint.Checkpoints(workdir) as checkpoints:
    params = checkpoints.restore_params(abstract.params)
  assembly, params = assembly_lib.bring_home(assembly, params)
  params = ensemble.divide(params, config.model.ensemble_size)
  refresher = refresher_lib.Refresher(
      data.table,
      data.info,
      params,
      model=assembly.model,
      loss_fn=assembly.loss_fn,
      names=assembly.names,
      config=config,
      store=address.open_backend(store),
      adapt=adapt,
      dtype=dtype,
      place=functools.partial(mesh_lib.put_by_task, mesh=assembly.mesh),
  )
  half = program.GlobalHalf(
      params=params.global_block,
      tables=params.tables,
      specs=assembly.model.global_specs,
      layout=assembly.model.layout,
      config=config.model.global_block,
      calibration=calibration.read(workdir),
      ensemble_size=config.model.ensemble_size,
  )
  scorer = scorer_lib.Scorer(half)
  return Served(config, refresher, half, scorer, assembly, params)


def score_fn(data: Dataset, served: Served) -> replay.ScoreFn:
  """Returns the global block, which scores rows of one entity type."""
  entity_type = data.info.entity_type
  return lambda vectors, features: served.scorer.score(
      {entity_type: vectors}, features
  )


def evaluate_as_served(
    data: Dataset,
    served: Served,
    store: str | pathlib.Path,
    on_progress: OnProgress = lambda done, total: None,
    *,
    schedule: replay.Schedule | None = None,
    entities: np.ndarray | None = None,
) -> scores_lib.Scores:
  """Replays test events, of some or all: refresh, publish, read back, score."""
  entity_type = data.info.entity_type

  def look_up(keys, now):
    fingerprint = served.refresher.fingerprint
    with lookup.Reader(store, entity_type, fingerprint=fingerprint) as reader:
      found = reader.lookup(keys, now=now)
    return found.vectors, found.statuses, found.ages

  def refresh(cutoffs):
    served.refresher.publish(cutoffs, entities)
    # Nothing reads an earlier one again, and a replay may make hundreds.
    snapshot.prune(served.refresher.store, entity_type, keep=1)

  return replay.replay(
      data.table,
      data.info,
      names=served.assembly.names.regular,
      refresh=refresh,
      lookup=look_up,
      score=score_fn(data, served),
      max_age_seconds=served.config.refresh.max_age_hours * 3600,
      schedule=schedule,
      entities=entities,
      on_progress=on_progress,
  )


def score_run(
    data: Dataset,
    run_dir: pathlib.Path,
    path: pathlib.Path,
    *,
    adapt: bool = True,
    on_progress: OnProgress = lambda done, total: None,
) -> scores_lib.Scores:
  """Scores the test events with what a run serves, and writes them."""
  store = run_dir / REPLAY_STORE_DIR / path.stem
  served = restore(data, run_dir, store=store, adapt=adapt)
  scores = evaluate_as_served(data, served, store, on_progress)
  scores_lib.write(path, scores)
  return scores


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes a file, whole or not at all."""
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_suffix('.tmp')
  temporary.write_text(text)
  temporary.replace(path)
