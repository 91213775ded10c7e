"""Settings of the service: the `extra` of a bundle's model-settings.json."""

from collections.abc import Mapping
import dataclasses
import math
from typing import Any

from limaml_jax import errors

# Type of a field -> what JSON may hold, and how people call it.
_TYPES: dict[Any, tuple[tuple[type, ...], str]] = {
    str: ((str,), 'a text'),
    bool: ((bool,), 'true or false'),
    int: ((int,), 'a whole number'),
    float: ((int, float), 'a number'),
}


@dataclasses.dataclass(frozen=True)
class Settings:
  """What an operator may change.

  Attributes:
    store: address of the feature store.
    deadline_seconds: for its answer; default embeddings stand in after that.
    max_age_seconds: beyond which an embedding is STALE; -1 as the bundle says,
      0 never.
    max_entities: of a request.
    max_candidates: of a request, all entities together.
    poll_seconds: between two looks for another version of the bundle.
    explore: serves the page `/explore`, to this machine alone.
  """

  store: str
  deadline_seconds: float = 0.05
  max_age_seconds: int = -1
  max_entities: int = 256
  max_candidates: int = 8192
  poll_seconds: float = 1.0
  explore: bool = True

  def __post_init__(self):
    least = {
        'deadline_seconds': 0.001,
        'max_age_seconds': -1,
        'max_entities': 1,
        'max_candidates': 1,
        'poll_seconds': 0.01,
    }
    for name, smallest in least.items():
      value = getattr(self, name)
      if not smallest <= value < math.inf:
        raise errors.InputError(
            f'parameters.extra.{name} is {value}; set {smallest} or more'
        )


def parse(fields: Mapping[str, Any], place: str) -> Settings:
  """Reads settings.

  Args:
    fields: by name, from JSON.
    place: where they stood, for messages.

  Raises:
    InputError: for an unknown name, a missing store or a wrong value.
  """
  known = {field.name: field for field in dataclasses.fields(Settings)}
  for name, value in fields.items():
    if name not in known:
      raise errors.InputError(
          f'{place}: parameters.extra.{name} is unknown; there are'
          f' {", ".join(known)}'
      )
    allowed, expected = _TYPES[known[name].type]
    if type(value) not in allowed:
      raise errors.InputError(
          f'{place}: parameters.extra.{name} is {value!r:.80}; set {expected}'
      )
  if not fields.get('store'):
    raise errors.InputError(
        f'{place}: parameters.extra.store is missing; set the address of the'
        ' feature store, e.g. lmdb:/var/lib/limaml/store'
    )
  try:
    return Settings(**fields)
  except errors.InputError as error:
    raise errors.InputError(f'{place}: {error}') from error
