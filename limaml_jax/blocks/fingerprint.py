"""Names a model's global half, so that embeddings meet the one they fit."""

import hashlib

import jax
import numpy as np

from limaml_jax import types


def fingerprint(
    global_params: types.Params,
    tables: types.Tables,
    structure: object,
    encoding: str,
) -> str:
  """Hashes everything that scores an embedding.

  Args:
    global_params: the global block.
    tables: the embedding tables.
    structure: feature specs and table layout; its repr is hashed.
    encoding: `DatasetInfo.encoding`: covers vocabularies and statistics.

  Returns:
    16 hexadecimal digits.
  """
  digest = hashlib.sha256(f'{encoding}{structure!r}'.encode())
  leaves = jax.tree_util.tree_leaves_with_path((global_params, tables))
  for path, leaf in leaves:
    digest.update(jax.tree_util.keystr(path).encode())
    digest.update(np.asarray(leaf).tobytes())
  return digest.hexdigest()[:16]
