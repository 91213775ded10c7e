"""The real network in its smallest form, and random tasks that it can read."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from limaml_jax import config as config_lib
from limaml_jax import overrides
from limaml_jax import types
from limaml_jax.blocks import model as model_lib
from limaml_jax.meta import objective as objective_lib
from limaml_jax.meta import outer_loop
from limaml_jax.meta import task_loss

NUM_TASKS = 3
NUM_SUPPORT = 4
NUM_QUERY = 3
_NUM_ITEMS = 5
_SPECS = (
    types.FeatureSpec('user_id', 'categorical', 'entity', 'meta', 9),
    types.FeatureSpec('age', 'numeric', 'entity', 'meta'),
    types.FeatureSpec('income', 'numeric', 'entity', 'meta'),
    types.FeatureSpec('item_id', 'categorical', 'item', 'global', _NUM_ITEMS),
    types.FeatureSpec('price', 'numeric', 'item', 'global'),
)


def make_config(**settings) -> config_lib.Config:
  """Returns settings of the network, with every option that learns."""
  return overrides.override(
      config_lib.Config(),
      {
          'model.meta_block.widths': (3,),
          'model.meta_block.embedding_size': 2,
          'model.global_block.widths': (4,),
          'inner_loop.num_steps': 2,
          'inner_loop.learning_rate': 0.7,
          'inner_loop.learned_rates': True,
          'inner_loop.prior_rows': 1.0,
      }
      | {name.replace('__', '.'): value for name, value in settings.items()},
  )


def make_model(config: config_lib.Config) -> model_lib.Model:
  return model_lib.make_model(
      config, specs=_SPECS, entity_type='user', entity_feature='user_id'
  )


def make_params(config: config_lib.Config) -> types.BlockParams:
  """Returns parameters of which none is zero, not even a bias."""
  shapes = jax.eval_shape(make_model(config).init, jax.random.key(0))
  rng = np.random.default_rng(1)
  normal = lambda x: jnp.asarray(0.5 * rng.normal(size=x.shape), x.dtype)
  return jax.tree.map(normal, shapes)


def make_loss(config: config_lib.Config) -> types.TaskLossFn:
  model = make_model(config)
  return task_loss.make_task_loss(model.embed, model.inner_logit)


def make_query_loss(config: config_lib.Config) -> types.QueryLossFn:
  model = make_model(config)
  pooling = config.model.meta_block.pooling
  return task_loss.make_query_loss(model.embed, model.logit, pooling=pooling)


def make_objective(config: config_lib.Config):
  """Returns what a task contributes, None where that is the query loss."""
  model = make_model(config)
  if objective_lib.is_plain(config.outer_loop):
    return None
  return objective_lib.make_objective(
      model.embed,
      model.logit,
      pooling=config.model.meta_block.pooling,
      config=config.outer_loop,
  )


def make_meta_loss(config: config_lib.Config):
  return outer_loop.make_meta_loss(
      encode=make_model(config).encode,
      loss_fn=make_loss(config),
      query_loss_fn=make_query_loss(config),
      config=config.inner_loop,
      objective=make_objective(config),
  )


@functools.cache
def compute_loss(config: config_lib.Config):
  """Returns the compiled (meta loss, losses), once per settings."""
  return jax.jit(make_meta_loss(config))


@functools.cache
def loss_and_grads(config: config_lib.Config):
  """Returns the compiled ((meta loss, losses), gradient), once per settings."""
  return jax.jit(jax.value_and_grad(make_meta_loss(config), has_aux=True))


def make_meta_batch(
    config: config_lib.Config, num_tasks: int = NUM_TASKS
) -> types.Episode:
  """Returns indexed episodes, all rows real, leaves [T, ...]."""
  rng = np.random.default_rng(3)
  index = make_model(config).index

  def examples(size, age):
    row = lambda values: jnp.broadcast_to(values, (num_tasks, 1))
    return index(
        types.Examples(
            meta_features={
                'user': {
                    'user_id': row(1 + np.arange(num_tasks)[:, None]),
                    'age': age,
                    'income': -2 * age,
                }
            },
            features={
                'item_id': rng.integers(0, _NUM_ITEMS, (num_tasks, size)),
                'price': rng.normal(size=(num_tasks, size)),
            },
            labels=jnp.asarray(rng.integers(0, 2, (num_tasks, size)), float),
            mask=jnp.ones((num_tasks, size)),
        )
    )

  age = jnp.asarray(rng.normal(size=(num_tasks, 1)))
  return types.Episode(
      support=examples(NUM_SUPPORT, age),
      query=examples(NUM_QUERY, age),
      weight=0.5 * 2.0 ** jnp.arange(num_tasks),
  )


def take_tasks(tree, indices):
  """Selects tasks, or one task without its axis."""
  return jax.tree.map(lambda x: x[indices], tree)


def make_empty(meta_batch: types.Episode, task: int) -> types.Episode:
  """Takes the support of one task away."""
  support = meta_batch.support
  mask = support.mask.at[task].set(0.0)
  return meta_batch._replace(support=support._replace(mask=mask))


def make_loud_padding(meta_batch: types.Episode) -> types.Episode:
  """Appends rows of mask 0 that would be heard, should they leak through."""

  def append(rows, value):
    widths = [(0, 0), (0, 3)] + [(0, 0)] * (rows.ndim - 2)
    return jnp.pad(rows, widths, constant_values=value)

  def pad(examples):
    loud = jax.tree.map(
        lambda x: append(x, 4 if jnp.issubdtype(x.dtype, jnp.integer) else 50),
        examples.features,
    )
    return examples._replace(
        features=loud,
        labels=append(examples.labels, 7),
        mask=append(examples.mask, 0),
    )

  return meta_batch._replace(
      support=pad(meta_batch.support), query=pad(meta_batch.query)
  )
