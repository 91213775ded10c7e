"""Manifest: what a version of a bundle is, in JSON beside its files."""

from collections.abc import Callable
import dataclasses
import hashlib
import json
import math
from typing import Any

from limaml_jax import errors
from limaml_jax import types

FORMAT = 2
_CHECKSUM = 'checksum'  # Of the other fields, beside them.
_ADVICE = 'run `python -m experiments.export` again'


@dataclasses.dataclass(frozen=True)
class Manifest:
  """Description of one version; times are UTC seconds.

  Attributes:
    format: of the bundle.
    version: also the name of its folder.
    entity_type: whose meta embeddings it reads, e.g. 'user'.
    item_feature: the item's ID.
    entity_feature: the entity's ID.
    features: that the global block reads, in order.
    fingerprint: of the model; snapshots of another cannot be used with it.
    dimension: E, numbers in a meta embedding.
    default_embedding: of an entity of which nothing is known, [E].
    max_age_seconds: beyond which an embedding is STALE; 0 never.
    tables: number of keys of each key table, by its name.
    jax_version: that exported the program.
    platforms: that it runs on.
    created: when it was exported.
    expires: when no newer jax needs to read it any more.
    checksums: SHA-256 of each file, by its path in the folder.
  """

  format: int
  version: str
  entity_type: str
  item_feature: str
  entity_feature: str
  features: tuple[types.FeatureSpec, ...]
  fingerprint: str
  dimension: int
  default_embedding: tuple[float, ...]
  max_age_seconds: int
  tables: dict[str, int]
  jax_version: str
  platforms: tuple[str, ...]
  created: int
  expires: int
  checksums: dict[str, str]

  def to_json(self) -> str:
    """Returns the JSON that `from_json` reads, with a checksum of the rest."""
    fields = dataclasses.asdict(self)
    return json.dumps(fields | {_CHECKSUM: _checksum(fields)}, indent=2) + '\n'


def from_json(text: str, place: str) -> Manifest:
  """Reads what `Manifest.to_json` wrote.

  Args:
    text: of the file.
    place: where it stood, for messages.

  Raises:
    InputError: if it is torn, edited, or of another version of this library.
  """
  try:
    fields = json.loads(text)
  except ValueError as error:
    message = f'{place}: not JSON ({error}); {_ADVICE}'
    raise errors.InputError(message) from error
  if not isinstance(fields, dict):
    raise errors.InputError(f'{place}: not a JSON object; {_ADVICE}')
  if fields.get('format') != FORMAT:
    raise errors.InputError(
        f"{place}: field 'format' is {fields.get('format')!r}, this library"
        f' reads {FORMAT}; {_ADVICE}'
    )
  expected = {field.name for field in dataclasses.fields(Manifest)}
  expected.add(_CHECKSUM)
  for name in sorted(expected ^ fields.keys()):
    state = 'missing' if name in expected else 'unknown'
    raise errors.InputError(f'{place}: field {name!r} is {state}; {_ADVICE}')
  for name, (is_valid, requirement) in _RULES.items():
    if not is_valid(fields[name]):
      raise errors.InputError(
          f'{place}: field {name!r} is {str(fields[name])[:80]!r}; it must be'
          f' {requirement}; {_ADVICE}'
      )
  if fields.pop(_CHECKSUM) != _checksum(fields):
    raise errors.InputError(
        f'{place}: corrupt (its checksum is another); {_ADVICE}'
    )
  return _parsed(fields, place)


def _checksum(fields: dict[str, Any]) -> str:
  text = json.dumps(fields, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


def _parsed(fields: dict[str, Any], place: str) -> Manifest:
  """Makes a manifest of fields each of which is valid."""
  try:
    specs = tuple(
        types.FeatureSpec(**spec | {'boundaries': tuple(spec['boundaries'])})
        for spec in fields['features']
    )
  except (KeyError, TypeError) as error:
    raise errors.InputError(
        f"{place}: field 'features' holds a feature of another version of this"
        f' library ({error}); {_ADVICE}'
    ) from error
  manifest = Manifest(**fields | {
      'features': specs,
      'default_embedding': tuple(map(float, fields['default_embedding'])),
      'platforms': tuple(fields['platforms']),
  })
  if len(manifest.default_embedding) != manifest.dimension:
    raise errors.InputError(
        f"{place}: field 'default_embedding' has"
        f" {len(manifest.default_embedding)} numbers, field 'dimension' says"
        f' {manifest.dimension}; {_ADVICE}'
    )
  return manifest


def _is_count(value: Any) -> bool:
  return type(value) is int and value >= 0


def _is_text(value: Any) -> bool:
  return isinstance(value, str) and bool(value)


def _are(
    kind: type, is_valid: Callable[[Any], bool]
) -> Callable[[Any], bool]:
  """Returns whether a list, or the values of an object, are all valid."""

  def are(value):
    if not isinstance(value, kind):
      return False
    inside = value.values() if isinstance(value, dict) else value
    return all(map(is_valid, inside))

  return are


def _is_number(value: Any) -> bool:
  return type(value) in (int, float) and math.isfinite(value)


_TEXT = (_is_text, 'a text')
_COUNT = (_is_count, 'an integer, 0 or more')
# Field -> what it must be; all fields of a manifest.
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    'format': _COUNT,
    'version': _TEXT,
    'entity_type': _TEXT,
    'item_feature': _TEXT,
    'entity_feature': _TEXT,
    'features': (
        _are(list, lambda x: isinstance(x, dict)), 'a list of objects'
    ),
    'fingerprint': _TEXT,
    'dimension': _COUNT,
    'default_embedding': (_are(list, _is_number), 'a list of finite numbers'),
    'max_age_seconds': _COUNT,
    'tables': (_are(dict, _is_count), 'an object of integers'),
    'jax_version': _TEXT,
    'platforms': (_are(list, _is_text), 'a list of texts'),
    'created': _COUNT,
    'expires': _COUNT,
    'checksums': (_are(dict, _is_text), 'an object of texts'),
    _CHECKSUM: _TEXT,
}
