"""Row network: a trained network without adaptation, read row by row."""

import functools
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from experiments import pipeline
from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax import types
from limaml_jax.blocks import ensemble
from limaml_jax.blocks import model as model_lib
from limaml_jax.data import dataset
from limaml_jax.evaluation import replay
from limaml_jax.training import assembly as assembly_lib
from limaml_jax.training import checkpoint
from limaml_jax.training import loop
from limaml_jax.training import state as state_lib

_CHUNK = 4096
_LAST = 'last'  # Layer of the global block, linear in what it reads.


class RowNetwork:
  """A network, ready to read events, each with the features it came with."""

  def __init__(
      self,
      assembly: assembly_lib.Assembly,
      entity_type: types.EntityType,
      *,
      ensemble_size: int,
  ):
    """Compiles nothing yet."""
    self._names = assembly.names
    self._ensemble_size = ensemble_size
    logits = _make_logits(assembly.model, entity_type, ensemble_size)
    self._logits = jax.jit(logits)
    self._last_inputs = jax.jit(_make_last_inputs(logits, ensemble_size))

  def logits(
      self,
      params: types.BlockParams,
      table: dataset.TaskTable,
      entity: np.ndarray,
      event: np.ndarray,
  ) -> np.ndarray:
    """Returns the logit of each event, [n] float32."""
    return self._map(self._logits, params, table, entity, event)

  def last_inputs(
      self,
      params: types.BlockParams,
      table: dataset.TaskTable,
      entity: np.ndarray,
      event: np.ndarray,
  ) -> np.ndarray:
    """Returns 1 and what the last layers read of each event.

    [n, M width + 1]: divided by the root of M, so that a fit of an ensemble's
    last layers under a prior moves its logit as far as a fit of one.
    """
    return self._map(self._last_inputs, params, table, entity, event)

  def _map(self, function, params, table, entity, event):
    members = ensemble.divide(params, self._ensemble_size)
    rows = replay.TestRows(entity, event, day=entity, support_size=entity)
    if not event.size:
      return np.zeros(0, np.float32)
    parts = []
    for i in range(0, event.size, _CHUNK):
      chosen = np.minimum(np.arange(i, i + _CHUNK), event.size - 1)
      chunk = replay.TestRows(*(column[chosen] for column in rows))
      read = functools.partial(replay.row_features, table, chunk)
      meta, regular = read(self._names.meta), read(self._names.regular)
      found = np.asarray(function(members, meta, regular))
      parts.append(found[: event.size - i])
    return np.concatenate(parts)


def train(
    data: pipeline.Dataset,
    config: config_lib.Config,
    workdir: pathlib.Path,
    on_progress: loop.ProgressFn,
) -> tuple[state_lib.TrainState, assembly_lib.Assembly]:
  """Trains a network, or finds it trained.

  Args:
    data: prepared dataset.
    config: of the run.
    workdir: of the run.
    on_progress: called after each outer step.

  Returns:
    The state that would be served, and how the network is put together.

  Raises:
    InputError: for a network that reads histories: a row has none.
  """
  kind = config.model.meta_block.kind
  if config.model.meta_block.reads_history:
    raise errors.InputError(
        f'setting model.meta_block.kind is {kind!r}, which reads the history '
        'of an entity; a baseline that reads single rows takes mlp or '
        'id_embedding'
    )
  loop.train(config, data.table, data.info, workdir, on_progress=on_progress)
  assembly = assembly_lib.assemble(config, data.info)
  abstract = assembly_lib.abstract_state(config, assembly)
  with checkpoint.Checkpoints(workdir) as checkpoints:
    return checkpoints.restore_served(abstract), assembly


def _make_logits(
    model: model_lib.Model, entity_type: types.EntityType, size: int
):
  """Returns (members, raw meta features, raw features) -> logits, [n]."""
  first = functools.partial(jax.tree.map, lambda x: x[0])

  def of_member(params, meta, regular):
    """Scores the only event of a task, leaves [1, ...]."""
    examples = types.Examples(
        meta_features={entity_type: meta},
        features=regular,
        labels=jnp.zeros(1),
        mask=jnp.ones(1),
    )
    encoded = model.encode(params, model.index(examples))
    embedded = model.embed(params.meta_block, encoded.meta_features)
    return model.logit(
        params.global_block, first(embedded), first(encoded.features)
    )

  of_each = ensemble.each(of_member, size, in_axes=(0, None, None))

  def of_task(members, meta, regular):
    return jnp.mean(of_each(members, meta, regular))

  def logits(members, meta, regular):
    tasks = jax.tree.map(lambda x: x[:, None], (meta, regular))
    return jax.vmap(of_task, in_axes=(None, 0, 0))(members, *tasks)

  return logits


def _make_last_inputs(logits, size: int):
  """Returns (members, raw meta features, raw features) -> [n, M width + 1].

  A logit is linear in the last layers: its gradient there is what they read,
  of each member one M-th.
  """

  def one_logit(last, members, meta, regular):
    global_block = {**members.global_block, _LAST: last}
    rows = jax.tree.map(lambda x: x[None], (meta, regular))
    return logits(members._replace(global_block=global_block), *rows)[0]

  def last_inputs(members, meta, regular):
    gradient = jax.vmap(jax.grad(one_logit), in_axes=(None, None, 0, 0))
    found = gradient(members.global_block[_LAST], members, meta, regular)
    bias, kernel = (
        found[name].reshape(found[name].shape[0], -1)
        for name in ('bias', 'kernel')
    )
    bias = jnp.sum(bias, axis=1, keepdims=True)
    return jnp.concatenate([bias, math.sqrt(size) * kernel], axis=1)

  return last_inputs
