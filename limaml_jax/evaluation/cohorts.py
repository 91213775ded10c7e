"""Cohorts: rows grouped by how much was known of their entity at the cutoff.

Membership is frozen at the cutoff that a row was scored under, so that what an
entity does afterwards never moves its rows.
"""

import numpy as np

# Largest support size of each cohort; the last one has no limit.
_LIMITS = (0, 5, 20)
COHORTS = ('0', '1-5', '6-20', '21+')


def cohort_indices(support_size: np.ndarray) -> np.ndarray:
  """Maps support sizes, [n], to indices into `COHORTS`, [n]."""
  return np.searchsorted(_LIMITS, support_size, side='left')


def masks(support_size: np.ndarray) -> dict[str, np.ndarray]:
  """Returns the rows of each cohort, [n] bool each; every row is in one."""
  indices = cohort_indices(support_size)
  return {name: indices == i for i, name in enumerate(COHORTS)}
