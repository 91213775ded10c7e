"""Fingerprints: of what was asked of `prepare`, and of what it made."""

from collections.abc import Iterable
import dataclasses
import hashlib
import json
import pathlib
from typing import Any

import numpy as np

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.data.tasks import transform

# Raised whenever the same request would give other contents than before.
_REVISION = 1


def of_request(
    schema_text: bytes,
    files: Iterable[pathlib.Path],
    data_dir: pathlib.Path,
    *,
    data: config_lib.DataConfig,
    protocol: config_lib.ProtocolConfig,
) -> str:
  """Hashes schema, settings, and name, size and change time of each file."""
  sources = []
  for path in files:
    status = path.stat()
    name = str(path.relative_to(data_dir))
    sources.append([name, status.st_size, status.st_mtime_ns])
  facts = [
      _REVISION,
      # Not `data.schema`, a path: what stands in the file counts.
      data.task_entity,
      data.min_count,
      dataclasses.asdict(protocol),
      sources,
  ]
  return _hash([schema_text, _json(facts)])


def of_contents(prepared: transform.Prepared) -> str:
  """Hashes specifications, vocabularies and every array."""
  parts = [
      _json([dataclasses.asdict(spec) for spec in prepared.features]),
      _json(prepared.vocabularies),
      _json([
          prepared.split.cutoffs,
          prepared.split.test_end,
          prepared.split.refresh_seconds,
      ]),
  ]
  table = prepared.table
  for name, value in table._asdict().items():
    parts += _arrays(name, value)
  parts += _arrays('item_keys', prepared.item_keys)
  parts += _arrays('item_features', prepared.item_features)
  return _hash(parts)


def _arrays(name: str, value: types.Array | types.HostFeatures) -> list[bytes]:
  if isinstance(value, dict):
    return [
        part for key in sorted(value)
        for part in _arrays(f'{name}.{key}', value[key])
    ]
  value = np.asarray(value)
  if value.dtype.kind == 'U':
    return [name.encode(), _json(value.tolist())]
  heading = f'{name} {value.dtype.str} {value.shape}'
  return [heading.encode(), value.tobytes()]


def _json(value: Any) -> bytes:
  return json.dumps(value, sort_keys=True).encode()


def _hash(parts: Iterable[bytes]) -> str:
  digest = hashlib.blake2b(digest_size=16)
  for part in parts:
    digest.update(len(part).to_bytes(8, 'big'))
    digest.update(part)
  return digest.hexdigest()
