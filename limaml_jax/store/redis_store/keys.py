"""Keys: what the store calls its things in Redis.

  PREFIX:{<entity_type>}:current              '<version> <SHA-1 of manifest>'
  PREFIX:{<entity_type>}:manifests            hash, version to manifest
  PREFIX:{<entity_type>}:published            sorted set of versions
  PREFIX:{<entity_type>}:latest               the last version ever finished
  PREFIX:{<entity_type>}:records:<version>    hash, entity to record
  PREFIX:{<entity_type>}:unfinished:<token>   hash, as records
  PREFIX:{<entity_type>}:steps:<token>        how many writes have arrived there

The braces put all keys of an entity type into one slot of a cluster, and so on
one server, which changes them together. `current` names its manifest by content
too: after a server was emptied, version numbers begin again.
"""

import re

from limaml_jax import errors

_ENTITY_TYPE_PATTERN = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.-]*')


class Keys:
  """Names of the keys of one entity type.

  Attributes:
    entity_type: whose.
    current: see above, as all others.
    manifests: hash.
    published: sorted set.
    latest: a number.
  """

  def __init__(self, prefix: str, entity_type: str):
    """Composes them.

    Raises:
      InputError: if the entity type could end the braces early, or cannot name
        a folder, as other back ends need it.
    """
    if not _ENTITY_TYPE_PATTERN.fullmatch(entity_type):
      raise errors.InputError(
          f'entity type {entity_type!r}: use letters, digits, "_", "-" and "."'
      )
    self.entity_type = entity_type
    self._stem = f'{prefix}:{{{entity_type}}}:'
    self.current = self._stem + 'current'
    self.manifests = self._stem + 'manifests'
    self.published = self._stem + 'published'
    self.latest = self._stem + 'latest'

  def records(self, version: str) -> str:
    """Returns where the records of a finished version are."""
    return f'{self._stem}records:{version}'

  def unfinished(self, token: str) -> str:
    """Returns where the records of one in the making are."""
    return f'{self._stem}unfinished:{token}'

  def steps(self, token: str) -> str:
    """Returns where its writes are counted."""
    return f'{self._stem}steps:{token}'
