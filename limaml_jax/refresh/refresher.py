"""Refresher: a trained model that adapts entities and writes snapshots."""

from collections.abc import Callable
from collections.abc import Container
from collections.abc import Iterator
import dataclasses
import hashlib
import time

import jax
import numpy as np

from limaml_jax import config as config_lib
from limaml_jax import overrides
from limaml_jax import types
from limaml_jax.blocks import fingerprint as fingerprint_lib
from limaml_jax.blocks import model as model_lib
from limaml_jax.data import dataset
from limaml_jax.data import episodes
from limaml_jax.data import recency
from limaml_jax.refresh import generate as generate_lib
from limaml_jax.refresh import past
from limaml_jax.store import backend as backend_lib
from limaml_jax.store import manifest as manifest_lib
from limaml_jax.store import record
from limaml_jax.store import snapshot


class Refresher:
  """A trained model, ready to make the embeddings of any cutoff.

  Attributes:
    table: all tasks.
    info: of the dataset.
    store: that receives the snapshots.
    dtype: that their vectors are stored in.
    fingerprint: of what uses an embedding: the global block, and what encoded
      numbers mean.
    adaptation: of what makes one: all parameters, and the inner loop.
  """

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
      store: backend_lib.Backend,
      adapt: bool = True,
      dtype: str = 'float32',
      place: Callable[[types.Params], types.Params] = lambda tree: tree,
  ):
    """Compiles nothing yet.

    Args:
      table: all tasks.
      info: of the dataset.
      params: of the checkpoint, as `ensemble.divide` returns them.
      model: the network.
      loss_fn: mean loss of one encoded task.
      names: of the features that the network reads.
      config: of the run.
      store: feature store.
      adapt: makes unadapted embeddings when False: those of entities without
        events, of which neither an inner step nor a history may tell.
      dtype: that vectors are stored in.
      place: puts a chunk, leaves [N, ...], onto the devices.
    """
    self.table = table
    self.info = info
    self.store = store
    self.dtype = dtype
    self._adapt = adapt
    if not adapt:
      params = params._replace(inner_rates={})
      config = overrides.override(config, {'inner_loop.num_steps': 0})
    self._params = params
    self._config = config
    self._embed_chunk = generate_lib.make_embed_chunk(
        model, loss_fn=loss_fn, entity_type=info.entity_type, config=config
    )
    self._place = place
    self._shared = {
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
    self.adaptation = _hash_adaptation(
        self.fingerprint, params, config, adapt=adapt
    )

  def plan(
      self,
      cutoffs: np.ndarray | int,
      choose: Callable[[np.ndarray], np.ndarray] | None = None,
  ) -> generate_lib.Plan:
    """Plans who is adapted; see `generate.make_plan`."""
    plan = generate_lib.make_plan(
        self.table, cutoffs, config=self._config, choose=choose
    )
    return plan if self._adapt else plan.without_support()

  def hash_past(self) -> past.Past:
    """Hashes what embeddings are made of; see `past`."""
    return past.Past(
        self.table, support_cap=self._config.episodes.support_buckets[-1]
    )

  def generate(
      self, plan: generate_lib.Plan, done: Container[int] = ()
  ) -> Iterator[generate_lib.Chunk]:
    """Adapts the entities of a plan, but for the parts that are done."""
    return generate_lib.generate(
        self.table,
        self._params,
        plan,
        embed_chunk=lambda params, raw: self._embed_chunk(
            params, self._place(raw)
        ),
        done=done,
        **self._shared,
    )

  def default_embedding(self) -> np.ndarray:
    """Returns the embedding of an entity of which nothing is known, [E]."""
    return generate_lib.default_embedding(
        self.table,
        self._params,
        embed_chunk=self._embed_chunk,
        **self._shared,
    )

  def publish(
      self,
      cutoffs: np.ndarray | int,
      entities: np.ndarray | None = None,
      *,
      on_progress: Callable[[int, int], None] = lambda done, total: None,
  ) -> manifest_lib.Manifest:
    """Adapts everybody and publishes, ungated: for replays and experiments.

    Args:
      cutoffs: UTC seconds, one for all entities or one each, [entities].
      entities: who is adapted, if not everybody.
      on_progress: called after each chunk with (entities done, all).

    Returns:
      The manifest of the snapshot, now the current one.
    """
    choose = None if entities is None else lambda watermarks: entities
    plan = self.plan(cutoffs, choose)
    manifest = snapshot.write(
        self.store,
        self.info.entity_type,
        self._chunks(plan, on_progress),
        default_embedding=self.default_embedding(),
        fingerprint=self.fingerprint,
        cutoff=int(np.max(cutoffs)),
        created=int(time.time()),
        dtype=self.dtype,
    )
    snapshot.publish(self.store, self.info.entity_type, manifest.version)
    return manifest

  def _chunks(self, plan, on_progress):
    total = sum(part.entities.size for part in plan.parts)
    done = 0
    for chunk in self.generate(plan):
      keys = self.table.entity_keys[chunk.entities].tolist()
      yield record.Chunk(keys, chunk.vectors, plan.watermarks[chunk.entities])
      done += len(keys)
      on_progress(done, total)


def _hash_adaptation(
    fingerprint: str,
    params: types.BlockParams,
    config: config_lib.Config,
    *,
    adapt: bool,
) -> str:
  """Hashes all that decides what an entity's events turn into."""
  settings = (
      dataclasses.asdict(config.inner_loop),
      dataclasses.asdict(config.model),
      # Sums of padded rows differ in their last bits.
      config.episodes.support_buckets,
      recency.half_lives(config.episodes),
      config.refresh.entities_per_chunk,
  )
  digest = hashlib.sha256(f'{fingerprint}{settings!r}'.encode())
  if not adapt:
    digest.update(b'unadapted')
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    digest.update(jax.tree_util.keystr(path).encode())
    digest.update(np.asarray(leaf).tobytes())
  return digest.hexdigest()[:16]
