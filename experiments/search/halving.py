"""Sequential halving (Karnin, Koren and Somekh 2013) over training seeds.

A setting is an arm, a seed is a pull: what one seed says of two settings is
often less than what two seeds say of one. In each round the better half of the
settings goes on, and gets as many new seeds as it has had.
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses

import numpy as np

# Judges setting number n under a seed; more is better.
Judge = Callable[[int, int], float]


@dataclasses.dataclass
class Trial:
  """One setting, and what is known of it.

  Attributes:
    number: of the setting.
    values: under seeds 0, 1, ...
  """

  number: int
  values: list[float] = dataclasses.field(default_factory=list)

  @property
  def mean(self) -> float:
    """Over its seeds."""
    return float(np.mean(self.values))


def plan(num_trials: int) -> list[tuple[int, int]]:
  """Returns, of each round, how many settings it has and their seeds so far.

  Args:
    num_trials: settings of the first round, at least 1.
  """
  rounds, seeds = [], 1
  while num_trials > 1 or not rounds:
    rounds.append((num_trials, seeds))
    num_trials, seeds = num_trials // 2, 2 * seeds
  return rounds


def num_judgements(num_trials: int) -> int:
  """Returns how often `search` judges: its budget."""
  total, before = 0, 0
  for settings, seeds in plan(num_trials):
    total += settings * (seeds - before)
    before = seeds
  return total


def search(
    num_trials: int,
    judge: Judge,
    on_trial: Callable[[Sequence[Trial]], None] = lambda trials: None,
) -> list[Trial]:
  """Returns all trials, best first: those of the last round, then the others.

  Args:
    num_trials: settings of the first round.
    judge: of one setting under one seed.
    on_trial: told of all trials after each judgement.
  """
  trials = [Trial(number) for number in range(num_trials)]
  remaining = list(trials)
  for num_settings, num_seeds in plan(num_trials):
    remaining = rank(remaining)[:num_settings]
    for trial in remaining:
      while len(trial.values) < num_seeds:
        trial.values.append(judge(trial.number, len(trial.values)))
        on_trial(trials)
  return rank(trials)


def rank(trials: Sequence[Trial]) -> list[Trial]:
  """Sorts trials: more seeds first, for those won, then the better mean."""
  return sorted(
      trials,
      key=lambda trial: (
          -len(trial.values), -trial.mean if trial.values else 0.0, trial.number
      ),
  )  # fmt: skip
