"""Fingerprints: of what was asked of `prepare`, and of what it made."""

from collections.abc import Iterable
from collections.abc import Iterator
from concurrent import futures
import dataclasses
import hashlib
import json
import pathlib
from typing import Any

import numpy as np

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.tasks import event_split
from limaml_jax.data.tasks import task_blocks

# Raised whenever the same request would give other contents than before.
_REVISION = 7
# Raised whenever the same encoding would give other numbers than before.
_ENCODING_REVISION = 1
_HEX_DIGITS = 32


def of_files(
    paths: Iterable[pathlib.Path], data_dir: pathlib.Path
) -> list[list]:
  """Returns name, size and change time of each file."""
  found = []
  for path in paths:
    status = path.stat()
    inside = path.is_relative_to(data_dir)
    name = str(path.relative_to(data_dir) if inside else path.absolute())
    found.append([name, status.st_size, status.st_mtime_ns])
  return found


def of_request(
    schema: schema_lib.Schema,
    files: Iterable[list],
    *,
    data: config_lib.DataConfig,
    protocol: config_lib.ProtocolConfig,
    max_reject_fraction: float,
    encoding: str = '',
) -> str:
  """Hashes all that decides what a dataset holds.

  Args:
    schema: of the log.
    files: what `of_files` says of every file.
    data: settings.
    protocol: settings.
    max_reject_fraction: of the rows of a table.
    encoding: hash of the one that is kept, '' where it is fitted.
  """
  return of_facts(
      # Not `data.schema`, a path: what stands in the file counts.
      dataclasses.asdict(dataclasses.replace(schema, path='')),
      dataclasses.asdict(dataclasses.replace(data, schema='')),
      dataclasses.asdict(protocol),
      max_reject_fraction,
      list(files),
      encoding,
  )


def of_run(
    schema: schema_lib.Schema,
    entity: schema_lib.Entity,
    features: Iterable[schema_lib.Feature],
) -> str:
  """Hashes all that decides what is made of a file of the log.

  Args:
    schema: of the log.
    entity: that is adapted.
    features: that stand in the log.
  """
  return of_facts(
      dataclasses.asdict(dataclasses.replace(schema.interactions, files=())),
      entity.key,
      [dataclasses.asdict(feature) for feature in features],
  )


def of_encoding(
    specs: Iterable[types.FeatureSpec],
    vocabularies: str,
    *,
    entity_type: str,
    entity_feature: str,
    item_feature: str,
) -> str:
  """Hashes what the encoded numbers mean to a model, whatever they are.

  Args:
    specs: of the features, in their order.
    vocabularies: in JSON.
    entity_type: of the tasks.
    entity_feature: that is the entity's ID.
    item_feature: that is the item's ID.
  """
  names = [entity_type, entity_feature, item_feature]
  return _hash([
      _json([_ENCODING_REVISION, *names]),
      _json([dataclasses.asdict(spec) for spec in specs]),
      vocabularies.encode(),
  ])


def of_facts(*facts: Any) -> str:
  """Hashes facts that JSON can hold, and the revision of this code."""
  return _hash([_json([_REVISION, *facts])])


class Contents:
  """Hashes a dataset while it is written."""

  def __init__(self):
    self._digest = _new_digest()

  def add_blocks(
      self, blocks: Iterable[task_blocks.TaskBlock]
  ) -> Iterator[task_blocks.TaskBlock]:
    """Passes blocks on, and adds them meanwhile."""
    with futures.ThreadPoolExecutor(1) as thread:
      pending = thread.submit(lambda: None)
      for block in blocks:
        pending.result()
        pending = thread.submit(self._add_block, block)
        yield block
      pending.result()

  def _add_block(self, block: task_blocks.TaskBlock) -> None:
    for name, value in block._asdict().items():
      self._add(name, value)

  def finish(
      self,
      specs: Iterable[types.FeatureSpec],
      split: event_split.Split,
      *,
      vocabularies: str,
      item_keys: np.ndarray,
      item_features: types.HostFeatures,
  ) -> str:
    """Adds all that is no block, and returns the hash.

    Args:
      specs: of the features.
      split: of the events.
      vocabularies: in JSON.
      item_keys: [items] str.
      item_features: leaves [items, ...].
    """
    self._add('item_keys', item_keys)
    self._add('item_features', item_features)
    _update(self._digest, vocabularies.encode())
    for fact in (
        [dataclasses.asdict(spec) for spec in specs],
        [split.cutoffs, split.test_end, split.refresh_seconds],
    ):
      _update(self._digest, _json(fact))
    return self._digest.hexdigest()[:_HEX_DIGITS]

  def _add(
      self, name: str, value: int | types.Array | types.HostFeatures
  ) -> None:
    if isinstance(value, dict):
      for key in sorted(value):
        self._add(f'{name}.{key}', value[key])
      return
    value = np.asarray(value)
    is_text = value.dtype.kind == 'U'
    kind = 'text' if is_text else value.dtype.str
    _update(self._digest, f'{name} {kind} {value.shape}'.encode())
    if is_text:
      _update(self._digest, _json(value.tolist()))
    else:
      flat = np.ascontiguousarray(value).reshape(-1)
      _update(self._digest, flat.view(np.uint8))


def _new_digest():
  return hashlib.sha256()  # Most processors have instructions for it.


def _update(digest, part: bytes | np.ndarray) -> None:
  digest.update(len(part).to_bytes(8, 'big'))
  digest.update(part)


def _json(value: Any) -> bytes:
  return json.dumps(value, sort_keys=True).encode()


def _hash(parts: Iterable[bytes]) -> str:
  digest = _new_digest()
  for part in parts:
    _update(digest, part)
  return digest.hexdigest()[:_HEX_DIGITS]
