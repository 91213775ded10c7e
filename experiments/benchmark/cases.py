"""The cases of the benchmark: shapes, random tasks, and the loss of each.

The loss is the library's, with its blocks and its inner loop; its inputs are
vectors, so no table is read.
"""

from collections.abc import Callable
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.blocks import global_block
from limaml_jax.blocks import meta_block
from limaml_jax.meta import embeddings
from limaml_jax.meta import outer_loop
from limaml_jax.meta import task_loss

_ENTITY = 'user'
INNER_RATE = 0.1


@dataclasses.dataclass(frozen=True)
class Case:
  """Shapes of a benchmark.

  Attributes:
    name: of the case.
    num_tasks: T.
    support: S.
    query: Q.
    meta_features: F of the meta block.
    features: F of the global block.
    meta_widths: of the meta block; the last is E.
    global_widths: of the global block, without the logit.
    wide: the global block has a linear path, too.
    per_sample: R = S instead of 1.
  """

  name: str
  num_tasks: int = 256
  support: int = 16
  query: int = 16
  meta_features: int = 128
  features: int = 64
  meta_widths: tuple[int, ...] = (512, 256, 64)
  global_widths: tuple[int, ...] = (256, 128)
  wide: bool = False
  per_sample: bool = False


CASES = (
    Case('reference'),
    Case('per_sample', per_sample=True),
    Case('wide', meta_widths=(1024, 512, 128)),
    Case(
        'kuairand',
        support=32,
        query=4,
        meta_features=136,
        features=65,
        meta_widths=(64, 32),
        global_widths=(128, 64),
        wide=True,
    ),
)


def make_batch(case: Case) -> types.Episode:
  """Returns random tasks, encoded but for the global block's first half."""
  rng = np.random.default_rng(0)

  def normal(*shape):
    return jnp.asarray(rng.normal(size=shape), jnp.float32)

  def examples(size, inputs):
    labels = rng.random((case.num_tasks, size)) < 0.3
    return types.Examples(
        meta_features={_ENTITY: inputs},
        features=normal(case.num_tasks, size, case.features),
        labels=jnp.asarray(labels, jnp.float32),
        mask=jnp.ones((case.num_tasks, size)),
    )

  num_rows = case.support if case.per_sample else 1
  inputs = normal(case.num_tasks, num_rows, case.meta_features)
  return types.Episode(
      support=examples(case.support, inputs),
      query=examples(case.query, inputs[:, :1]),
      weight=jnp.ones(case.num_tasks),
  )


def make_params(case: Case) -> types.BlockParams:
  """Returns fresh parameters."""
  meta_config, global_config = _configs(case)
  meta_key, global_key = jax.random.split(jax.random.key(0))
  *_, size = case.meta_widths
  return types.BlockParams(
      meta_block={
          _ENTITY: meta_block.init(
              meta_key, meta_config, num_features=case.meta_features
          )
      },
      global_block=global_block.init(
          global_key,
          global_config,
          embedding_sizes={_ENTITY: size},
          num_features=case.features,
      ),
      tables={},
      inner_rates={},
      history={},
  )


def make_meta_loss(
    case: Case, config: config_lib.InnerLoopConfig
) -> outer_loop.MetaLossFn:
  """Returns (parameters, tasks) -> (meta loss, losses)."""
  encode, embed, loss_fn = _functions(case)
  _, global_config = _configs(case)
  logit = functools.partial(global_block.apply, config=global_config)
  return outer_loop.make_meta_loss(
      encode=encode,
      loss_fn=loss_fn,
      query_loss_fn=task_loss.make_query_loss(embed, logit, pooling='latest'),
      config=config,
  )


def make_generation(
    case: Case, config: config_lib.InnerLoopConfig
) -> Callable[[types.BlockParams, types.Episode], jax.Array]:
  """Returns (parameters, tasks) -> meta embeddings, [T, E], of the supports."""
  encode, embed, loss_fn = _functions(case)
  whole = config_lib.Config(inner_loop=config)

  def generate(params, support):
    found = embeddings.meta_embedding(
        params,
        encode(params, support),
        embed=embed,
        loss_fn=loss_fn,
        config=whole,
    )
    return found[_ENTITY]

  over_tasks = jax.vmap(generate, in_axes=(None, 0))
  return lambda params, tasks: over_tasks(params, tasks.support)


def _functions(case: Case):
  """Returns what encodes a task, embeds it, and judges it."""
  meta_config, global_config = _configs(case)
  prepare_row = functools.partial(global_block.prepare, config=global_config)
  inner_logit = functools.partial(
      global_block.apply_in_inner_loop, config=global_config
  )

  def encode(params, examples):
    features = jax.vmap(prepare_row, in_axes=(None, 0))(
        params.global_block, examples.features
    )
    return examples._replace(features=features)

  def embed(meta_params, meta_features):
    inputs = meta_features[_ENTITY]
    rows = meta_block.apply(meta_params[_ENTITY], inputs, config=meta_config)
    return {_ENTITY: rows}

  return encode, embed, task_loss.make_task_loss(embed, inner_logit)


def make_joint_loss(case: Case) -> outer_loop.MetaLossFn:
  """Returns the loss of ordinary training on the rows of both sets together.

  The meta block runs once per task, or in a per-sample case once per row.
  """
  meta_config, global_config = _configs(case)
  score = functools.partial(global_block.apply, config=global_config)
  prepare = functools.partial(global_block.prepare, config=global_config)

  def task_loss_of(params, inputs, features, labels):
    embedding = meta_block.apply(
        params.meta_block[_ENTITY], inputs, config=meta_config
    )

    def logit(row, features):
      prepared = prepare(params.global_block, features)
      return score(params.global_block, {_ENTITY: row}, prepared)

    if case.per_sample:
      logits = jax.vmap(logit)(embedding, features)
    else:
      logits = jax.vmap(logit, in_axes=(None, 0))(embedding[0], features)
    ones = jnp.ones_like(labels)
    return task_loss.mean_loss(
        logits, types.Examples({}, features, labels, ones)
    )

  def joint_loss(params, meta_batch):
    support, query = meta_batch.support, meta_batch.query
    both = lambda name: jnp.concatenate(
        [getattr(support, name), getattr(query, name)], axis=1
    )
    inputs = support.meta_features[_ENTITY]
    if case.per_sample:
      num_rows = case.support + case.query
      inputs = jnp.broadcast_to(
          inputs[:, :1], (inputs.shape[0], num_rows, case.meta_features)
      )
    losses = jax.vmap(task_loss_of, in_axes=(None, 0, 0, 0))(
        params, inputs, both('features'), both('labels')
    )
    loss = jnp.mean(losses)
    return loss, outer_loop.MetaLosses(loss, jnp.zeros(0))

  return joint_loss


def _configs(
    case: Case,
) -> tuple[config_lib.MetaBlockConfig, config_lib.GlobalBlockConfig]:
  *widths, size = case.meta_widths
  return (
      config_lib.MetaBlockConfig(widths=tuple(widths), embedding_size=size),
      config_lib.GlobalBlockConfig(widths=case.global_widths, wide=case.wide),
  )
