"""Manifest: what a version of a bundle is, in JSON beside its files."""

import dataclasses
import json
from typing import Any

from limaml_jax import errors
from limaml_jax import types

FORMAT = 1
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
    """Returns the JSON that `from_json` reads."""
    return json.dumps(dataclasses.asdict(self), indent=2) + '\n'


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
  for name in sorted(expected ^ fields.keys()):
    state = 'missing' if name in expected else 'unknown'
    raise errors.InputError(f'{place}: field {name!r} is {state}; {_ADVICE}')
  try:
    return _parsed(fields)
  except (TypeError, ValueError, AttributeError) as error:
    raise errors.InputError(f'{place}: {error}; {_ADVICE}') from error


def _parsed(fields: dict[str, Any]) -> Manifest:
  specs = tuple(
      types.FeatureSpec(**spec | {'boundaries': tuple(spec['boundaries'])})
      for spec in fields['features']
  )
  manifest = Manifest(**fields | {
      'features': specs,
      'default_embedding': tuple(map(float, fields['default_embedding'])),
      'platforms': tuple(fields['platforms']),
  })
  if len(manifest.default_embedding) != manifest.dimension:
    raise ValueError("'default_embedding' is not of 'dimension' numbers")
  return manifest
