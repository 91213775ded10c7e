"""Results: all that a study's page may look at."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import functools

import numpy as np

from experiments import pipeline
from experiments import progress
from experiments.study import run as run_lib
from experiments.study import statistics
from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax.evaluation import replay
from limaml_jax.evaluation import scores as scores_lib


class Results:
  """Outcomes of a study, by label.

  Attributes:
    config: of LiMAML on the study's data.
    seeds: of every run.
    labels: of the runs that did not fail, in order.
    failed: why others did, by label.
  """

  def __init__(
      self,
      config: config_lib.Config,
      outcomes: Mapping[str, Sequence[run_lib.Outcome]],
      load_data: Callable[[run_lib.Run], pipeline.Dataset],
  ):
    """Reads nothing yet.

    Args:
      config: of LiMAML on the study's data.
      outcomes: of each label, one per seed.
      load_data: the dataset of a run.
    """
    self.config = config
    self._outcomes = outcomes
    self._load_data = load_data
    self.seeds = [part.seed for part in next(iter(outcomes.values()), [])]
    reasons = {
        label: next((part.reason for part in parts if part.reason), '')
        for label, parts in outcomes.items()
    }
    self.failed = {label: text for label, text in reasons.items() if text}
    self.labels = [label for label in outcomes if label not in self.failed]

  def scores(self, label: str) -> list[scores_lib.Scores]:
    """Returns the scored rows of a run, one part per seed."""
    parts = [part.scores for part in self._outcomes[label]]
    return [part for part in parts if part is not None]

  def run(self, label: str) -> run_lib.Run:
    """Returns the run of a label."""
    return self._outcomes[label][0].run

  def fact(self, label: str, name: str) -> float | None:
    """Returns the mean of a fact over seeds; None if it is not known."""
    values = [part.facts.get(name) for part in self._outcomes[label]]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None

  def measure(
      self, labels: Sequence[str] | None = None, mask: np.ndarray | None = None
  ) -> statistics.Measured:
    """Measures runs against each other.

    Args:
      labels: of the runs; all that did not fail when left out.
      mask: of the rows that count, [n] bool; all when left out.
    """
    labels = self.labels if labels is None else labels
    scores = {label: self.scores(label) for label in labels}
    with progress.bar('measure runs') as update:
      return statistics.Measured(scores, mask, update)

  @functools.cached_property
  def whole(self) -> statistics.Measured:
    """All runs that did not fail, on all rows."""
    return self.measure()

  def rows(self, label: str) -> scores_lib.Scores:
    """Returns the rows of a run, for their days and support sizes."""
    return self.scores(label)[0]

  def is_new(self, label: str) -> np.ndarray:
    """Marks the rows of entities that training has not seen, [n] bool."""
    table = self._load_data(self.run(label)).table
    return table.num_train[self.rows(label).entity] == 0

  def item_history(self, label: str) -> np.ndarray:
    """Counts events of each row's item before the refresh that served it, [n].

    An item that the vocabulary lacks has -1.

    Args:
      label: of a run that was scored as its protocol says.
    """
    data = self._load_data(self.run(label))
    table, info = data.table, data.info
    items = table.event_features[info.item_feature]
    rows = replay.test_rows(table, info)
    rows = replay.select(rows, np.argsort(rows.day, kind='stable'))
    if not np.array_equal(rows.entity, self.rows(label).entity):
      raise ValueError(f'{label}: its rows are not those of the protocol')
    found = np.zeros_like(rows.event)
    for day, cutoff in enumerate(info.cutoffs):
      earlier = items[table.timestamps < cutoff]
      counts = np.bincount(earlier, minlength=items.max() + 1)
      counts[0] = -1  # Nobody knows which they are.
      of_day = rows.day == day
      found[of_day] = counts[items[rows.event[of_day]]]
    return found

  def protocol(self, label: str) -> str:
    """Returns the protocol that a run was tested under, for people."""
    return self._load_data(self.run(label)).info.protocol

  def require(self, *labels: str) -> None:
    """Raises InputError if one of these runs failed."""
    for label in labels:
      if label in self.failed:
        raise errors.InputError(
            f'run {label} failed, and the page needs it: {self.failed[label]}'
        )

  def has(self, *labels: str) -> bool:
    """Returns whether all these runs ended well."""
    return all(label in self.labels for label in labels)
