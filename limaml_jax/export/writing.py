"""Writing: from a trained model to a version of a bundle."""

from collections.abc import Mapping
from collections.abc import Sequence
import pathlib
import time
from typing import NamedTuple

import jax
import numpy as np

from limaml_jax import errors
from limaml_jax import types
from limaml_jax.bundle import columns as columns_lib
from limaml_jax.bundle import directory
from limaml_jax.bundle import key_table
from limaml_jax.bundle import manifest as manifest_lib
from limaml_jax.bundle import reading
from limaml_jax.export import program

# jax promises newer releases to read an artefact for six months.
VALID_SECONDS = 180 * 86400
# Tensors of a request; see `open_inference.tensors`.
_RESERVED = ('entity', 'candidates', 'num_candidates')


class Known(NamedTuple):
  """What is known of items or entities.

  Attributes:
    keys: as the log spells them, [n] str.
    features: raw, of that owner, leaves [n, ...].
  """

  keys: np.ndarray
  features: types.HostFeatures


class Facts(NamedTuple):
  """What is written of a model besides its global half.

  Attributes:
    entity_type: whose meta embeddings it reads.
    item_feature: the item's ID.
    entity_feature: the entity's ID.
    fingerprint: of the model, as its snapshots have it.
    default_embedding: of an entity of which nothing is known, [E].
    max_age_seconds: beyond which an embedding is STALE; 0 never.
  """

  entity_type: types.EntityType
  item_feature: str
  entity_feature: str
  fingerprint: str
  default_embedding: np.ndarray
  max_age_seconds: int


def write(
    root: str | pathlib.Path,
    half: program.GlobalHalf,
    facts: Facts,
    *,
    items: Known,
    entities: Known,
    vocabularies: Mapping[str, Sequence[str]],
) -> manifest_lib.Manifest:
  """Writes a new version of a bundle, and makes it the current one.

  Args:
    root: folder of the bundle; may be new.
    half: the global block and the embedding tables.
    facts: of the model.
    items: whose features need not be in a request.
    entities: the same.
    vocabularies: tokens by feature; row i + 1 is token i.

  Returns:
    The manifest, which names the version.

  Raises:
    InputError: if a feature cannot be given in a request, the disk refuses, or
      another process exports there.
  """
  _check_names(half.specs)
  root = pathlib.Path(root)
  columns = columns_lib.Columns(half.specs)
  with directory.new_version(root) as (path, version):
    (path / directory.PROGRAM).write_bytes(
        program.export(
            half,
            columns,
            entity_type=facts.entity_type,
            dimension=facts.default_embedding.size,
        )
    )
    with open(path / directory.WEIGHTS, 'wb') as file:
      np.savez(file, allow_pickle=False, **program.flatten(half))
    tables = {}
    for name, owner, known in (
        (directory.ITEMS, 'item', items),
        (directory.ENTITIES, 'entity', entities),
    ):
      if columns.record(owner).itemsize and len(known.keys):
        records = columns.pack(owner, known.features, len(known.keys))
        key_table.write(path / name, known.keys.tolist(), records)
        tables[name] = len(known.keys)
    tables |= _write_vocabularies(path, columns, vocabularies)
    manifest = _describe(path, version, half, facts, tables)
    (path / directory.MANIFEST).write_text(manifest.to_json())
  return manifest


def _check_names(specs: Sequence[types.FeatureSpec]) -> None:
  for spec in specs:
    if spec.name in _RESERVED:
      raise errors.InputError(
          f'feature {spec.name!r}: a request calls something else so; rename it'
          ' in the schema, prepare and train again'
      )


def _write_vocabularies(path, columns, vocabularies) -> dict[str, int]:
  """Writes the rows of all tokens; returns their numbers by table."""
  tables = {}
  for i, spec in enumerate(columns.specs):
    if spec.kind not in ('categorical', 'multi_hot') or spec.hash_buckets:
      continue
    tokens = vocabularies.get(spec.name)
    if tokens is None or len(tokens) + 1 != spec.num_rows:
      raise errors.InputError(
          f'feature {spec.name!r}: its vocabulary is not that of the model;'
          ' pass the dataset that it was trained on'
      )
    if tokens:
      name = directory.vocabulary(i)
      rows = np.zeros(len(tokens), reading.TOKEN_ROW)
      rows['row'] = np.arange(1, len(tokens) + 1)
      key_table.write(path / name, tokens, rows)
      tables[name] = len(tokens)
  return tables


def _describe(path, version, half, facts, tables) -> manifest_lib.Manifest:
  created = int(time.time())
  default = np.asarray(facts.default_embedding, np.float32)
  return manifest_lib.Manifest(
      format=manifest_lib.FORMAT,
      version=version,
      entity_type=facts.entity_type,
      item_feature=facts.item_feature,
      entity_feature=facts.entity_feature,
      features=tuple(half.specs),
      fingerprint=facts.fingerprint,
      dimension=default.size,
      default_embedding=tuple(default.tolist()),
      max_age_seconds=facts.max_age_seconds,
      tables=tables,
      jax_version=jax.__version__,
      platforms=program.PLATFORMS,
      created=created,
      expires=created + VALID_SECONDS,
      checksums=directory.checksums(path),
  )
