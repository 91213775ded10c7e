"""Cohorts: impressions grouped by what was known when they were scored."""

from collections.abc import Sequence

import numpy as np

from experiments.replay import contender as contender_lib
from limaml_jax.evaluation import cohorts as cohorts_lib
from limaml_jax.store import lookup

Masks = dict[str, np.ndarray]

_STATUSES = [status.name for status in lookup.Status]
_KNOWN = ['unknown', 'known']


def find(
    entity: np.ndarray, scored: Sequence[contender_lib.Scored]
) -> dict[str, Masks]:
  """Returns the rows of each cohort, [c] bool each, by what groups them.

  'embedding' is the status as served, 'item' whether the bundle knows it; where
  two bundles differ, both stand there: 'MISSING -> PRESENT'. 'impressions' is
  how many of the impressions are of the same entity. Each row is in one cohort
  of each group; empty ones are left out.

  Args:
    entity: of the impressions, counted from 0, [c].
    scored: what each bundle says of them.
  """
  counts = np.bincount(entity)[entity]
  groups = {
      'embedding': _by_code([one.statuses for one in scored], _STATUSES),
      'item': _by_code([one.known.astype(int) for one in scored], _KNOWN),
      'impressions': cohorts_lib.masks(counts),
  }
  return {
      group: {name: mask for name, mask in masks.items() if mask.any()}
      for group, masks in groups.items()
  }


def _by_code(codes: Sequence[np.ndarray], names: Sequence[str]) -> Masks:
  """Groups rows by the codes that the bundles give them."""
  together = np.stack(codes, axis=1)
  masks = {}
  for pair in np.unique(together, axis=0):
    named = list(dict.fromkeys(names[code] for code in pair))
    masks[' -> '.join(named)] = (together == pair).all(axis=1)
  return masks
