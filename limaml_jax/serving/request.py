"""Request: entities, the candidates of each, and features that come with it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from limaml_jax import errors
from limaml_jax.serving import settings as settings_lib


class Given(NamedTuple):
  """Values of a feature that stand in the request.

  Attributes:
    values: as the log spells them, texts or numbers, [n] or, multi_hot, lists
      of texts [n]; None is unknown; n is 1, the entities or the rows.
  """

  values: Sequence


class Request(NamedTuple):
  """What is to be scored; c rows in all.

  Attributes:
    entities: keys, [n].
    entity_of_row: whose candidate each row is, [c] int32.
    candidates: keys of items, [c]; None if the features say it all.
    given: features by name; they win over what is known of the keys.
  """

  entities: Sequence[str]
  entity_of_row: np.ndarray
  candidates: Sequence[str] | None
  given: dict[str, Given]


def make(
    entities: Sequence[str],
    candidates: Sequence[str] | None,
    given: dict[str, Given],
    *,
    counts: np.ndarray | None = None,
    limits: settings_lib.Settings,
) -> Request:
  """Checks that the parts of a request fit each other.

  Args:
    entities: keys, [n].
    candidates: keys of items, those of the first entity first.
    given: features by name.
    counts: candidates of each entity, [n]; the same number each when left out.
    limits: how much a request may ask.

  Raises:
    InputError: names the field.
  """
  num_entities = len(entities)
  if not 0 < num_entities <= limits.max_entities:
    raise errors.InputError(
        f'entity: {num_entities} keys; send 1 to {limits.max_entities}'
    )
  num_rows = _count_rows(candidates, given, counts)
  if num_rows > limits.max_candidates:
    raise errors.InputError(
        f'candidates: {num_rows} in all; send {limits.max_candidates} or fewer'
    )
  if counts is None:
    if num_rows % num_entities:
      raise errors.InputError(
          f'num_candidates: missing, and {num_rows} candidates are not the same'
          f' number for each of {num_entities} entities'
      )
    counts = np.full(num_entities, num_rows // num_entities)
  elif len(counts) != num_entities or counts.min() < 0:
    raise errors.InputError(
        f'num_candidates: send a number, 0 or more, for each of'
        f' {num_entities} entities'
    )
  elif counts.sum() != num_rows:
    raise errors.InputError(
        f'num_candidates: {counts.sum()} in all, but there are {num_rows}'
        ' candidates'
    )
  entity_of_row = np.repeat(np.arange(num_entities, dtype=np.int32), counts)
  return Request(entities, entity_of_row, candidates, given)


def _count_rows(candidates, given, counts) -> int:
  if candidates is not None:
    return len(candidates)
  if counts is not None:
    return int(counts.clip(0).sum())
  if not given:
    raise errors.InputError(
        'candidates: missing, and no feature is given; send keys of items, or'
        ' their features'
    )
  return max(len(feature.values) for feature in given.values())
