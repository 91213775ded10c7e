"""Quality: the latest labelled events, scored as served with two snapshots.

Nothing with events after the cutoff exists when a snapshot is judged, so two
questions are asked on a window before it, the later half of the time since the
previous snapshot's cutoff or less:

- `quality`: would vectors made as these are, but of events before the window
  alone, have scored it as well as the previous snapshot did? Neither has seen
  its events: an honest comparison, of the model, of the way to here, and of
  the earlier half of the new events.
- `replay`: does the snapshot itself score it as well? It has seen these events,
  so it should score better; if not, vectors and keys do not belong together.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from limaml_jax import types
from limaml_jax.evaluation import bootstrap
from limaml_jax.evaluation import ranking
from limaml_jax.evaluation import replay
from limaml_jax.evaluation import scores as scores_lib
from limaml_jax.refresh import refresher as refresher_lib
from limaml_jax.store import contents as contents_lib
from limaml_jax.store import record
from limaml_jax.store import vector_dtypes

# (meta embeddings [n, E], raw features with leaves [n, ...]) -> scores [n].
ScoreFn = Callable[[np.ndarray, types.HostFeatures], np.ndarray]

_SEED = 0


class Compared(NamedTuple):
  """A difference of two ways to score the same rows.

  Attributes:
    roc_auc: of the new way.
    difference: of it from the other's.
    interval: of the difference, by resampling entities; None if undefined.
    against: what the other way is.
    condition: of the events, for people.
  """

  roc_auc: float
  difference: float
  interval: tuple[float, float] | None
  against: str
  condition: str


class Scored(NamedTuple):
  """The events of the window, scored in several ways.

  Attributes:
    num_rows: events.
    previous: scored with the previous snapshot, or without any embedding.
    fresh: with vectors that have seen nothing of the window.
    replayed: with the snapshot that is judged.
    against: what `previous` is.
  """

  num_rows: int
  previous: scores_lib.Scores
  fresh: scores_lib.Scores
  replayed: scores_lib.Scores
  against: str

  def compared(self) -> dict[str, Compared]:
    """Returns the differences by the name of the check."""
    return {
        'quality': self._compare(self.fresh, 'that neither has seen'),
        'replay': self._compare(self.replayed, 'that it has seen'),
    }

  def _compare(self, ours: scores_lib.Scores, condition: str) -> Compared:
    found = bootstrap.paired_difference(
        ours, self.previous, np.random.default_rng(_SEED)
    )
    return Compared(
        roc_auc=ranking.roc_auc(ranking.tie_groups(ours.score, ours.label)),
        difference=np.nan if found.roc_auc is None else found.roc_auc,
        interval=found.interval,
        against=self.against,
        condition=condition,
    )


def window_rows(
    refresher: refresher_lib.Refresher,
    start: int,
    stop: int,
    *,
    max_entities: int,
) -> replay.TestRows:
  """Lists the events of some hours, of all or of some entities by chance.

  Args:
    refresher: whose events.
    start: UTC seconds of the first.
    stop: UTC seconds after the last.
    max_entities: how many.
  """
  table = refresher.table
  event = np.flatnonzero(
      (table.timestamps >= start) & (table.timestamps < stop)
  )
  entity = np.searchsorted(table.offsets, event, side='right') - 1
  entities = np.unique(entity)
  if entities.size > max_entities:
    rng = np.random.default_rng(_SEED)
    entities = rng.choice(entities, max_entities, replace=False)
    event = event[np.isin(entity, entities)]
    entity = np.searchsorted(table.offsets, event, side='right') - 1
  zeros = np.zeros_like(event)
  return replay.TestRows(entity, event, day=zeros, support_size=zeros)


def score_window(
    refresher: refresher_lib.Refresher,
    rows: replay.TestRows,
    start: int,
    *,
    contents: contents_lib.Contents,
    previous: contents_lib.Contents | None,
    names: tuple[str, ...],
    score: ScoreFn,
) -> Scored | None:
  """Scores the events of a window; None if there are none.

  Args:
    refresher: that made the snapshot.
    rows: of the window.
    start: of it, UTC seconds.
    contents: of the snapshot that is judged.
    previous: the published one, of the same model; None compares with what is
      served to an entity without a vector.
    names: raw features that `score` reads.
    score: the global block.
  """
  if not rows.event.size:
    return None
  table = refresher.table
  features = replay.row_features(table, rows, names)
  entities, position = np.unique(rows.entity, return_inverse=True)
  keys = table.entity_keys[entities]
  default = np.asarray(contents.manifest.default_embedding, np.float32)

  def scored(vectors):
    return scores_lib.Scores(
        entity=rows.entity,
        day=rows.day,
        label=table.labels[rows.event],
        score=score(vectors[position], features).astype(np.float64),
        support_size=rows.support_size,
        age_seconds=np.full(rows.event.size, -1),
        status=np.zeros(rows.event.size, np.uint8),
    )

  against = 'unadapted embeddings'
  before = np.tile(default, (entities.size, 1))
  if previous is not None:
    against = f'snapshot {previous.manifest.version}'
    before = _served(previous, keys)
  return Scored(
      num_rows=rows.event.size,
      previous=scored(before),
      fresh=scored(_fresh(refresher, entities, start)),
      replayed=scored(_served(contents, keys)),
      against=against,
  )


def _served(contents: contents_lib.Contents, keys: np.ndarray) -> np.ndarray:
  """Returns what a snapshot serves to each key, [n, E]."""
  found = contents.find(keys)
  default = np.asarray(contents.manifest.default_embedding, np.float32)
  vectors = np.tile(default, (len(keys), 1))
  vectors[found >= 0] = contents.take(found[found >= 0])
  return vectors


def _fresh(
    refresher: refresher_lib.Refresher, entities: np.ndarray, start: int
) -> np.ndarray:
  """Adapts entities to their events before the window, [n, E]."""
  plan = refresher.plan(start, lambda watermarks: entities)
  chunks = list(refresher.generate(plan))
  order = np.argsort(np.concatenate([chunk.entities for chunk in chunks]))
  vectors = np.concatenate([chunk.vectors for chunk in chunks])[order]
  records = np.zeros(
      len(vectors), record.layout(vectors.shape[1], refresher.dtype)
  )
  vector_dtypes.encode(vectors, records, refresher.dtype)
  return vector_dtypes.decode(records, refresher.dtype)
