r"""Times the daily refresh: of everybody, and of those with new events.

    python -m experiments.benchmark refresh --refresh_entities=1000000

makes a log of random events in memory, of which one entity in twenty has some
on the second day, and a model of random parameters. It refreshes to the end of
the first day and then, in two copies of that store, to the end of the second:
`full` adapts everybody, `incremental` those with new events, each with all that
a refresh does, from reading the published snapshot to publishing the next. It
prints a JSON line; programs are compiled before the clock starts.
"""

import json
import pathlib
import shutil
import statistics
import tempfile
import time

from absl import flags
import jax
import numpy as np

from experiments import progress
from limaml_jax import config as config_lib
from limaml_jax import overrides
from limaml_jax import types
from limaml_jax.data import dataset
from limaml_jax.export import program
from limaml_jax.export import scorer as scorer_lib
from limaml_jax.refresh import gate
from limaml_jax.refresh import job
from limaml_jax.refresh import refresher as refresher_lib
from limaml_jax.store import address
from limaml_jax.store import contents
from limaml_jax.training import assembly as assembly_lib

_ENTITIES = flags.DEFINE_integer(
    'refresh_entities', 1_000_000, 'Entities.', lower_bound=100
)
_EVENTS = flags.DEFINE_integer(
    'refresh_events',
    16,
    'Events of an entity on the first day, in the mean.',
    lower_bound=1,
)
_STEPS = flags.DEFINE_integer(
    'refresh_steps', 1, 'K, inner steps.', lower_bound=1
)
_CHANGED = flags.DEFINE_float(
    'changed', 0.05, 'Of the entities, that have events on the second day.'
)
_TURNS = flags.DEFINE_integer('refresh_turns', 1, 'Of each.', lower_bound=1)

_DAY = 86400
_START = 1_700_000_000
_NEW_EVENTS = 2
_NUM_ITEMS = 10_000
# Random parameters learn nothing, and what is random drifts.
_GATE = gate.GateConfig(max_quality_loss=1.0, max_drift=10.0)


def main() -> None:
  """Times both, and prints a line."""
  table, info = _make_data()
  with tempfile.TemporaryDirectory() as scratch:
    line = _Line(table, info, pathlib.Path(scratch))
    line.refresh('first', _START + _DAY, full=True)  # Compiles, too.
    seconds = {'full': [], 'incremental': []}
    for turn in range(_TURNS.value):
      for mode, taken in seconds.items():
        store = f'{mode}-{turn}'
        line.copy('first', store)
        start = time.perf_counter()
        outcome = line.refresh(store, _START + 2 * _DAY, full=mode == 'full')
        taken.append(time.perf_counter() - start)
        line.outcomes[mode] = outcome
    full, incremental = map(statistics.median, seconds.values())
    adapted = line.outcomes['incremental'].num_adapted
    print(
        json.dumps({
            'entities': info.num_entities,
            'events': info.num_interactions,
            'num_steps': _STEPS.value,
            'full_s': round(full, 2),
            'incremental_s': round(incremental, 2),
            'adapted': adapted,
            'ratio': round(incremental / full, 3),
            'largest_difference': line.largest_difference(),
        })
    )


class _Line:
  """A model, and stores to refresh."""

  def __init__(self, table, info, scratch: pathlib.Path):
    config = overrides.override(
        config_lib.Config(), {'inner_loop.num_steps': _STEPS.value}
    )
    self._config, self._table, self._info = config, table, info
    self._scratch = scratch
    self._assembly = assembly_lib.assemble(config, info, mesh_rows=1)
    self._params = self._assembly.model.init(jax.random.key(0))
    self._scorer = scorer_lib.Scorer(
        program.GlobalHalf(
            params=self._params.global_block,
            tables=self._params.tables,
            specs=self._assembly.model.global_specs,
            layout=self._assembly.model.layout,
            config=config.model.global_block,
        )
    )
    self._refresher = refresher_lib.Refresher(
        table,
        info,
        self._params,
        model=self._assembly.model,
        loss_fn=self._assembly.loss_fn,
        names=self._assembly.names,
        config=config,
        store=address.open_backend(scratch / 'first'),
        dtype='float16',
    )
    self.outcomes: dict[str, job.Outcome] = {}

  def refresh(self, store: str, cutoff: int, *, full: bool) -> job.Outcome:
    """Refreshes a store."""
    self._refresher.store = address.open_backend(self._scratch / store)
    with progress.stages(store) as update:
      return job.run(
          self._refresher,
          job.Settings(cutoff, full=full, gate=_GATE),
          directory=self._scratch / f'{store}-job',
          names=self._assembly.names.regular,
          score=lambda vectors, features: self._scorer.score(
              {'user': vectors}, features
          ),
          now=cutoff,
          on_progress=update,
      )

  def copy(self, store: str, other: str) -> None:
    """Copies a store."""
    shutil.copytree(self._scratch / store, self._scratch / other)

  def largest_difference(self) -> float:
    """Returns that between the vectors of the last two refreshes."""
    turn = _TURNS.value - 1
    vectors = [
        contents.load(
            address.open_backend(self._scratch / f'{mode}-{turn}'),
            'user',
            outcome.manifest.version,
        ).vectors
        for mode, outcome in self.outcomes.items()
    ]
    return float(np.abs(vectors[0] - vectors[1]).max())


def _make_data() -> tuple[dataset.TaskTable, dataset.DatasetInfo]:
  """Returns two days of random events."""
  rng = np.random.default_rng(0)
  num_entities = _ENTITIES.value
  first = rng.integers(1, 2 * _EVENTS.value, num_entities)
  changed = rng.random(num_entities) < _CHANGED.value
  sizes = first + _NEW_EVENTS * changed
  offsets = np.concatenate([[0], np.cumsum(sizes)])
  position = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
  times = _START + position * (_DAY // (2 * _EVENTS.value))
  times[position >= np.repeat(first, sizes)] = _START + _DAY + _DAY // 2
  num_events = len(times)
  labels = (rng.random(num_events) < 0.3).astype(np.float32)
  table = dataset.TaskTable(
      entity_keys=np.char.add('u', np.arange(10**8, 10**8 + num_entities)
                              .astype(np.str_)),
      offsets=offsets,
      num_history=sizes,
      num_train=sizes,
      timestamps=times,
      labels=labels,
      targets=labels,
      weights=np.ones(num_events, np.float32),
      entity_features={
          'user_id': rng.integers(0, 1000, num_entities).astype(np.int32),
          'age': rng.normal(size=num_entities).astype(np.float32),
      },
      event_features={
          'item_id': rng.integers(1, _NUM_ITEMS, num_events).astype(np.int32),
          'hour': rng.integers(1, 24, num_events).astype(np.int32),
      },
  )  # fmt: skip
  make = types.FeatureSpec
  return table, dataset.DatasetInfo(
      name='benchmark',
      entity_type='user',
      entity_feature='user_id',
      item_feature='item_id',
      num_interactions=num_events,
      num_entities=num_entities,
      num_train=num_events,
      label_mean=0.3,
      protocol='two days',
      cutoffs=(),
      test_end=_START + 2 * _DAY,
      refresh_seconds=0,
      features=(
          make('user_id', 'categorical', 'entity', 'meta', 1000),
          make('age', 'numeric', 'entity', 'meta'),
          make('item_id', 'categorical', 'item', 'global', _NUM_ITEMS),
          make('hour', 'categorical', 'context', 'global', 25),
      ),
      request='benchmark',
      fingerprint='benchmark',
      encoding='benchmark',
  )
