"""A prepared dataset on disk: what `prepare` leaves and everything reads.

DIR/dataset.json        DatasetInfo; written last, so it marks a whole one
DIR/vocabularies.json   per categorical or multi_hot feature that is not hashed,
                        its tokens
DIR/items.parquet       item key, and its item-owned features, encoded
DIR/tasks/              one example per entity, ArrayRecord through TFDS
"""

import dataclasses
import json
import pathlib
import shutil
from typing import NamedTuple

import numpy as np

from limaml_jax import errors
from limaml_jax import types

DATASET_FILE = 'dataset.json'
VOCABULARIES_FILE = 'vocabularies.json'
ITEMS_FILE = 'items.parquet'
TASKS_DIR = 'tasks'


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
  """Facts of a prepared dataset.

  Attributes:
    name: of the schema.
    entity_type: of the tasks, e.g. 'user'.
    entity_feature: name of the categorical feature that is the entity's ID;
      its vocabulary holds the entities with training rows, here or in the
      dataset whose encoding this one keeps.
    item_feature: name of the categorical feature that is the item's ID.
    num_interactions: events kept, training and test.
    num_entities: tasks.
    num_train: training events.
    label_mean: share of label 1 among training events.
    protocol: one line that says how events were split, for people.
    cutoffs: UTC seconds at which embeddings are refreshed for evaluation,
      ascending; empty when each entity has a cutoff of its own, the time of
      its first test event.
    test_end: UTC seconds; no event at or after it was kept.
    refresh_seconds: between refreshes; 0 for a single generation.
    features: specifications, the two ID features included.
    request: what was asked of `prepare` (schema, protocol, sources), hashed.
    fingerprint: of the contents of the dataset, hashed.
    encoding: what its encoded numbers mean (features, statistics, boundaries,
      vocabularies, IDs), hashed, whichever events there are: a model reads any
      dataset of the encoding that it was trained on.
  """

  name: str
  entity_type: str
  entity_feature: str
  item_feature: str
  num_interactions: int
  num_entities: int
  num_train: int
  label_mean: float
  protocol: str
  cutoffs: tuple[int, ...]
  test_end: int
  refresh_seconds: int
  features: tuple[types.FeatureSpec, ...]
  request: str
  fingerprint: str
  encoding: str

  def to_json(self) -> str:
    """Returns the JSON that `from_json` reads."""
    return json.dumps(dataclasses.asdict(self), indent=2)

  @classmethod
  def from_json(cls, text: str) -> 'DatasetInfo':
    """Reads what `to_json` wrote."""
    fields = json.loads(text)
    fields['cutoffs'] = tuple(fields['cutoffs'])
    fields['features'] = tuple(
        types.FeatureSpec(
            **spec | {'boundaries': tuple(spec.get('boundaries', ()))}
        )
        for spec in fields['features']
    )
    return cls(**fields)


class TaskTable(NamedTuple):
  """All tasks in memory; the events of entity n are offsets[n]:offsets[n+1].

  The events of an entity ascend by time. First comes its history, then its test
  events, each of which is strictly later than all of the history. The history
  is also what the entity trains on, unless the protocol makes it a newcomer:
  then its history is support when it is served, but trains nothing.

  Attributes:
    entity_keys: as the log spells them, [N] str.
    offsets: [N + 1] int64.
    num_history: events before the first test event of each entity, [N] int64.
    num_train: how many of those may be trained on, [N] int64.
    timestamps: UTC seconds, [events] int64.
    labels: 0 or 1, [events] float32.
    targets: what the losses learn, 0 to 1, [events] float32; the labels where
      the schema gives none.
    weights: of the events in the losses, [events] float32; 1 where the schema
      gives none.
    entity_features: raw features per entity, leaves [N, ...].
    event_features: raw item and context features, leaves [events, ...].
  """

  entity_keys: np.ndarray
  offsets: np.ndarray
  num_history: np.ndarray
  num_train: np.ndarray
  timestamps: np.ndarray
  labels: np.ndarray
  targets: np.ndarray
  weights: np.ndarray
  entity_features: types.HostFeatures
  event_features: types.HostFeatures


def event_owners(table: TaskTable) -> np.ndarray:
  """Returns the entity of each event, [events] int64."""
  sizes = np.diff(table.offsets)
  return np.repeat(np.arange(sizes.size), sizes)


def load_info(directory: str | pathlib.Path) -> DatasetInfo:
  """Reads the facts of the dataset in `directory`.

  Raises:
    InputError: if there is no whole dataset.
  """
  path = pathlib.Path(directory) / DATASET_FILE
  if not path.exists():
    raise errors.InputError(
        f'{path}: not found; run `python -m experiments.prepare` to make it'
    )
  try:
    return DatasetInfo.from_json(path.read_text())
  except (ValueError, KeyError, TypeError) as error:
    raise _torn(path) from error


def copy_encoding(
    source: str | pathlib.Path, target: str | pathlib.Path
) -> None:
  """Copies what `prepare(encoding_of=...)` takes of a dataset.

  Args:
    source: directory of a prepared dataset.
    target: directory that receives it.
  """
  source, target = pathlib.Path(source), pathlib.Path(target)
  target.mkdir(parents=True, exist_ok=True)
  for name in (VOCABULARIES_FILE, DATASET_FILE):
    temporary = target / f'{name}.tmp'
    shutil.copyfile(source / name, temporary)
    temporary.replace(target / name)


def load_vocabularies(directory: str | pathlib.Path) -> dict[str, list[str]]:
  """Returns the tokens of each vocabulary; row i + 1 is token i.

  A hashed feature has none.
  """
  path = pathlib.Path(directory) / VOCABULARIES_FILE
  try:
    return json.loads(path.read_text())
  except (OSError, ValueError) as error:
    raise _torn(path) from error


def _torn(path: pathlib.Path) -> errors.InputError:
  return errors.InputError(
      f'{path}: torn, or of another version; run '
      '`python -m experiments.prepare` into an empty directory'
  )
