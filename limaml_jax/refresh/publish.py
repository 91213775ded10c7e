"""Generates the embeddings of all entities and publishes them as a snapshot."""

from collections.abc import Callable
import pathlib
import time

import numpy as np

from limaml_jax import config as config_lib
from limaml_jax import overrides
from limaml_jax import types
from limaml_jax.blocks import fingerprint as fingerprint_lib
from limaml_jax.blocks import model as model_lib
from limaml_jax.data import dataset
from limaml_jax.data import episodes
from limaml_jax.refresh import generate as generate_lib
from limaml_jax.store import manifest as manifest_lib
from limaml_jax.store import record
from limaml_jax.store import snapshot


class Refresher:
  """A trained model, ready to publish the embeddings of any cutoff."""

  def __init__(
      self,
      table: dataset.TaskTable,
      info: dataset.DatasetInfo,
      params: types.BlockParams,
      *,
      model: model_lib.Model,
      loss_fn: types.TaskLossFn,
      names: episodes.FeatureNames,
      config: config_lib.Config,
      store: pathlib.Path,
      adapt: bool = True,
  ):
    """Compiles nothing yet.

    Args:
      table: all tasks.
      info: of the dataset.
      params: of the checkpoint.
      model: the network.
      loss_fn: mean loss of one encoded task.
      names: of the features that the network reads.
      config: of the run.
      store: directory of the feature store.
      adapt: publishes unadapted embeddings when False.
    """
    self._table = table
    self._info = info
    if not adapt:
      params = params._replace(inner_rates={})
      config = overrides.override(config, {'inner_loop.num_steps': 0})
    self._params = params
    self._store = store
    embed_chunk = generate_lib.make_embed_chunk(
        model,
        loss_fn=loss_fn,
        entity_type=info.entity_type,
        config=config,
    )
    self._shared = {
        'embed_chunk': embed_chunk,
        'names': names,
        'entity_type': info.entity_type,
        'config': config,
    }
    self.fingerprint = fingerprint_lib.fingerprint(
        params.global_block,
        params.tables,
        (model.global_specs, model.layout),
        info.encoding,
    )

  def publish(
      self,
      cutoffs: np.ndarray | int,
      *,
      on_progress: Callable[[int, int], None] = lambda done, total: None,
  ) -> manifest_lib.Manifest:
    """Generates from events strictly before the cutoffs, and publishes.

    Args:
      cutoffs: UTC seconds, one for all entities or one each, [N].
      on_progress: called after each chunk with (entities done, all).

    Returns:
      The manifest of the snapshot, now the current one.
    """
    manifest = snapshot.write_chunks(
        self._store,
        self._info.entity_type,
        self._chunks(cutoffs, on_progress),
        default_embedding=generate_lib.default_embedding(
            self._table,
            self._params,
            **self._shared,
        ),
        fingerprint=self.fingerprint,
        cutoff=int(np.max(cutoffs)),
        created=int(time.time()),
    )
    snapshot.publish(self._store, self._info.entity_type, manifest.version)
    return manifest

  def _chunks(self, cutoffs, on_progress):
    total = len(self._table.entity_keys)
    done = 0
    for chunk in generate_lib.generate(
        self._table, self._params, cutoffs, **self._shared
    ):
      keys = self._table.entity_keys[chunk.entities].tolist()
      yield record.Chunk(keys, chunk.vectors, chunk.watermarks)
      done += len(keys)
      on_progress(done, total)
