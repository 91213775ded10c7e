"""Program: the global block of one row, exported for any number of them."""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
from typing import NamedTuple

import jax
from jax import export as jax_export
import jax.numpy as jnp
import numpy as np

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.blocks import encoder
from limaml_jax.blocks import ensemble
from limaml_jax.blocks import global_block
from limaml_jax.bundle import columns as columns_lib
from limaml_jax.export import calibration as calibration_lib

# The artefact is lowered for each of these.
PLATFORMS = ('cpu', 'cuda', 'tpu')


class GlobalHalf(NamedTuple):
  """What scores an embedding.

  Attributes:
    params: of the global block.
    tables: embedding tables.
    specs: of the features that it reads, in order.
    layout: of the tables.
    config: of the global block.
    calibration: of its logits.
    ensemble_size: M, members of the parameters.
  """

  params: types.Params
  tables: types.Tables
  specs: Sequence[types.FeatureSpec]
  layout: encoder.Layout
  config: config_lib.GlobalBlockConfig
  calibration: calibration_lib.Calibration = calibration_lib.Calibration()
  ensemble_size: int = 1

  @property
  def arrays(self) -> tuple:
    """Returns all that another set of weights changes."""
    return self.params, self.tables, self.calibration

  def bind(self, arrays: tuple) -> 'GlobalHalf':
    """Returns the same with other `arrays`."""
    params, tables, calibration = arrays
    return self._replace(
        params=params, tables=tables, calibration=calibration
    )


def score_row(
    half: GlobalHalf,
    embeddings: dict[types.EntityType, jax.Array],
    features: types.Features,
) -> jax.Array:
  """Returns the probability of label 1 of one row, [].

  Args:
    half: what scores.
    embeddings: meta embeddings by entity type, [E].
    features: raw features, leaves [...].
  """
  specs, layout, size = half.specs, half.layout, half.ensemble_size
  indexed = encoder.index(features, specs=specs, layout=layout)

  def member_logit(params, tables, embeddings):
    encoded = encoder.lookup(tables, indexed, specs=specs, layout=layout)
    prepared = global_block.prepare(params, encoded, config=half.config)
    return global_block.apply(params, embeddings, prepared, config=half.config)

  divided = {
      entity_type: ensemble.divide_embedding(embedding, size)
      for entity_type, embedding in embeddings.items()
  }
  logits = ensemble.each(member_logit, size)(half.params, half.tables, divided)
  scale, shift = half.calibration
  return jax.nn.sigmoid(scale * jnp.mean(logits) + shift)


def flatten(half: GlobalHalf) -> dict[str, np.ndarray]:
  """Returns the arrays of the global half by name."""
  leaves = jax.tree_util.tree_leaves_with_path(half.arrays)
  return {
      jax.tree_util.keystr(path, simple=True, separator='/'): np.asarray(leaf)
      for path, leaf in leaves
  }


def export(
    half: GlobalHalf,
    columns: columns_lib.Columns,
    *,
    entity_type: types.EntityType,
    dimension: int,
) -> bytes:
  """Exports the program that scores rows of several entities.

  Its arguments are weights by name, embeddings [entities, E], the entity of
  each row [rows], `ids` [rows, ...] and `numbers` [rows, ...]; the numbers of
  entities and rows are free.

  Args:
    half: whose shapes count; its parameters are arguments.
    columns: of the packed features.
    entity_type: whose embeddings.
    dimension: E.

  Returns:
    A serialized `jax.export.Exported`.
  """
  weights = flatten(half)
  names = list(weights)
  treedef = jax.tree.structure(half.arrays)

  def score(weights, embeddings, entities, ids, numbers):
    bound = half.bind(treedef.unflatten([weights[name] for name in names]))

    def row(entity, ids, numbers):
      features = columns.unpack(ids, numbers)
      return score_row(bound, {entity_type: embeddings[entity]}, features)

    return jax.vmap(row)(entities, ids, numbers)

  entities, rows = jax_export.symbolic_shape('entities, rows')
  shape = jax.ShapeDtypeStruct
  ids, numbers = columns.unknown
  with _without_source_lines():
    exported = jax_export.export(jax.jit(score), platforms=PLATFORMS)(
        jax.tree.map(lambda x: shape(x.shape, x.dtype), weights),
        shape((entities, dimension), jnp.float32),
        shape((rows,), jnp.int32),
        shape((rows, ids.size), jnp.int32),
        shape((rows, numbers.size), jnp.float32),
    )
    return bytes(exported.serialize())


@contextlib.contextmanager
def _without_source_lines() -> Iterator[None]:
  """Keeps paths and lines of this code, and of its caller, out of a program.

  It is then the same bytes wherever it is exported, and who has compiled it
  need not compile it again for other weights.
  """
  name = 'jax_traceback_in_locations_limit'
  before = getattr(jax.config, name)
  jax.config.update(name, 0)
  try:
    yield
  finally:
    jax.config.update(name, before)
