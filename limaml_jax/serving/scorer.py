"""Scores rows from meta embeddings that were read from the store."""

from collections.abc import Sequence
import functools

import jax
import numpy as np

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.blocks import encoder
from limaml_jax.blocks import global_block

_BUCKETS = (1, 16, 256, 4096)  # Padded numbers of rows: one compilation each.


class Scorer:
  """The global block, ready to score any number of rows."""

  def __init__(
      self,
      global_params: types.Params,
      tables: types.Tables,
      *,
      specs: Sequence[types.FeatureSpec],
      layout: encoder.Layout,
      config: config_lib.GlobalBlockConfig,
  ):
    self._params = global_params
    self._tables = tables
    self._specs = specs

    def score_row(params, tables, embeddings, features):
      indexed = encoder.index(features, specs=specs, layout=layout)
      encoded = encoder.lookup(tables, indexed, specs=specs, layout=layout)
      prepared = global_block.prepare(params, encoded, config=config)
      logit = global_block.apply(params, embeddings, prepared, config=config)
      return jax.nn.sigmoid(logit)

    self._score = jax.jit(jax.vmap(score_row, in_axes=(None, None, 0, 0)))

  def score(
      self,
      embeddings: dict[types.EntityType, np.ndarray],
      features: types.HostFeatures,
  ) -> np.ndarray:
    """Returns the probability of label 1 of each row, [C] float32.

    Args:
      embeddings: meta embeddings by entity type, [C, E].
      features: raw features of the rows, leaves [C, ...].
    """
    names = [spec.name for spec in self._specs]
    rows = (embeddings, {name: features[name] for name in names})
    num_rows = next(iter(embeddings.values())).shape[0]
    largest = _BUCKETS[-1]
    scores = [
        self._score_padded(
            jax.tree.map(lambda x: x[i : i + largest], rows)  # noqa: B023
        )
        for i in range(0, num_rows, largest)
    ]
    return np.concatenate(scores) if scores else np.zeros(0, np.float32)

  def _score_padded(self, rows) -> np.ndarray:
    num_rows = jax.tree.leaves(rows)[0].shape[0]
    padded = next(size for size in _BUCKETS if size >= num_rows)
    pad = functools.partial(_pad_rows, size=padded)
    embeddings, features = jax.tree.map(pad, rows)
    scores = self._score(self._params, self._tables, embeddings, features)
    return np.asarray(scores)[:num_rows]


def _pad_rows(rows: np.ndarray, *, size: int) -> np.ndarray:
  widths = [(0, size - rows.shape[0])] + [(0, 0)] * (rows.ndim - 1)
  return np.pad(rows, widths)
