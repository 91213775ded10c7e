"""Manifest: what a snapshot is, in JSON beside its data."""

from collections.abc import Callable
import dataclasses
import json
import math
import numbers
import re
from typing import Any

from limaml_jax import errors
from limaml_jax.store import vector_dtypes

VERSION_PATTERN = re.compile(r'[0-9]{8,}')
_ADVICE = 'roll back to another version, or write the snapshot again'


@dataclasses.dataclass(frozen=True)
class Manifest:
  """Description of one snapshot; times are UTC seconds.

  Attributes:
    version: of the snapshot, also the name of its folder.
    entity_type: whose meta embeddings these are, e.g. 'user'.
    fingerprint: of the model that made them; only its global block can use
      them.
    dimension: E, numbers in a meta embedding.
    dtype: that vectors are stored in, one of `vector_dtypes.DTYPES`.
    count: of entities.
    cutoff: last event time visible to the refresh.
    watermark: largest of the entities' watermarks, -1 if none has any.
    created: when the refresh ran.
    default_embedding: served to an entity without a vector, [E].
    generator: what made the vectors, by whoever did: a JSON object.
    checksum: SHA-256 of keys and records, see `checksum.Checksum`; the same
      whatever back end stores them.
    data_checksum: SHA-256 of the file that holds them; '' where there is none.
  """

  version: str
  entity_type: str
  fingerprint: str
  dimension: int
  dtype: str
  count: int
  cutoff: int
  watermark: int
  created: int
  default_embedding: tuple[float, ...]
  generator: dict[str, Any]
  checksum: str
  data_checksum: str

  def __post_init__(self):
    for name, (is_valid, requirement) in _RULES.items():
      value = getattr(self, name)
      if not is_valid(value):
        raise errors.InputError(
            f'field {name!r} is {str(value)[:80]!r}; it must be {requirement}'
        )
    if len(self.default_embedding) != self.dimension:
      raise errors.InputError(
          f"field 'default_embedding' has {len(self.default_embedding)} "
          f"numbers; field 'dimension' says {self.dimension}"
      )


def to_json(manifest: Manifest) -> str:
  """Returns the text that `from_json` reads."""
  # NumPy's integers are no numbers to json.
  return json.dumps(dataclasses.asdict(manifest), indent=2, default=int) + '\n'


def from_json(text: str, place: str) -> Manifest:
  """Reads a manifest.

  Args:
    text: of the file.
    place: where it stood, for messages.

  Returns:
    The manifest, every field valid.

  Raises:
    InputError: on anything else; names the field.
  """
  try:
    fields = json.loads(text)
  except ValueError as error:
    message = f'{place}: not JSON ({error}); {_ADVICE}'
    raise errors.InputError(message) from error
  if not isinstance(fields, dict):
    raise errors.InputError(f'{place}: not a JSON object; {_ADVICE}')
  for name in sorted(_RULES.keys() ^ fields.keys()):
    state = 'missing' if name in _RULES else 'unknown'
    raise errors.InputError(f'{place}: field {name!r} is {state}; {_ADVICE}')
  if isinstance(fields['default_embedding'], list):
    fields['default_embedding'] = tuple(fields['default_embedding'])
  try:
    return Manifest(**fields)
  except errors.InputError as error:
    raise errors.InputError(f'{place}: {error}; {_ADVICE}') from error


def check_place(
    manifest: Manifest, entity_type: str, version: str, place: str
) -> Manifest:
  """Returns the manifest, if it is that of this snapshot.

  Raises:
    InputError: if it belongs elsewhere.
  """
  expected = {'version': version, 'entity_type': entity_type}
  for name, value in expected.items():
    if getattr(manifest, name) != value:
      raise errors.InputError(
          f'{place}: field {name!r} is {getattr(manifest, name)!r}, its place '
          f'says {value!r}; {_ADVICE}'
      )
  return manifest


def _is_number(value: Any, kind: type) -> bool:
  # JSON's true is a number to Python.
  return isinstance(value, kind) and not isinstance(value, bool)


def _integer_from(minimum: int) -> tuple[Callable[[Any], bool], str]:
  return (
      lambda x: _is_number(x, numbers.Integral) and x >= minimum,
      f'an integer, {minimum} or more',
  )


def _is_vector(value: Any) -> bool:
  return isinstance(value, tuple) and all(
      _is_number(x, numbers.Real) and math.isfinite(x) for x in value
  )


def _text_like(
    pattern: str, requirement: str
) -> tuple[Callable[[Any], bool], str]:
  return (
      lambda x: isinstance(x, str) and bool(re.fullmatch(pattern, x)),
      requirement,
  )


_TEXT = _text_like('(?s).+', 'a text')
_SHA256 = _text_like('[0-9a-f]{64}', '64 hexadecimal digits')
# Field -> what it must be; all fields of a manifest.
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    'version': _text_like(VERSION_PATTERN.pattern, '8 digits'),
    'entity_type': _TEXT,
    'fingerprint': _TEXT,
    'dimension': _integer_from(1),
    'dtype': _text_like(
        '|'.join(vector_dtypes.DTYPES), ' or '.join(vector_dtypes.DTYPES)
    ),
    'count': _integer_from(0),
    'cutoff': _integer_from(0),
    'watermark': _integer_from(-1),
    'created': _integer_from(0),
    'default_embedding': (_is_vector, 'a list of finite numbers'),
    'generator': (lambda x: isinstance(x, dict), 'a JSON object'),
    'checksum': _SHA256,
    'data_checksum': _text_like('([0-9a-f]{64})?', "64 digits, or ''"),
}
