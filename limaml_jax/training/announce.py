"""Says in the log what a run is about to do, and what that should take."""

import logging

import jax

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.blocks import ensemble
from limaml_jax.data import buckets
from limaml_jax.data import episodes
from limaml_jax.data import reader as reader_lib
from limaml_jax.meta import cost
from limaml_jax.meta import inner_loop
from limaml_jax.meta import outer_loop
from limaml_jax.training import assembly as assembly_lib

_LOGGER = logging.getLogger(__name__)


def run(config: config_lib.Config, plan: reader_lib.BatchPlan) -> None:
  """Logs the order of the meta-gradient, the steps, and the padding."""
  reads_support = (
      config.inner_loop.num_steps > 0 or config.model.meta_block.reads_history
  )
  padding = ''
  if reads_support:
    padding = describe_padding(plan.index, config.episodes)
  _LOGGER.info(
      'Meta-gradient: %s; %d outer steps of %d tasks on %d devices%s',
      outer_loop.order_name(config.inner_loop),
      len(plan),
      config.episodes.tasks_per_step,
      jax.device_count(),
      padding and f'; {padding}',
  )


def describe_padding(
    index: episodes.EpisodeIndex, config: config_lib.EpisodeConfig
) -> str:
  """Names the padded sizes, and which part of the rows they make padding."""
  parts = []
  chosen = reader_lib.choose_buckets(index, config)
  for name, sizes, padded in zip(
      ('supports', 'queries'), index.sizes(), chosen, strict=True
  ):
    share = buckets.padding_share(sizes, padded)
    to = ', '.join(map(str, padded))
    parts.append(f'{name} padded to {to} ({share:.0%} padding)')
  return ', '.join(parts)


class Shapes:
  """Logs, for each new shape of tasks, how the inner loop will adapt them."""

  def __init__(
      self, config: config_lib.Config, assembly: assembly_lib.Assembly
  ):
    self._config = config
    self._assembly = assembly
    self._seen = set()

  def see(self, params: types.BlockParams, meta_batch: types.Episode) -> None:
    """Takes the parameters, and a meta-batch about to be learned from."""
    shape = (meta_batch.support.mask.shape[1], meta_batch.query.mask.shape[1])
    if shape in self._seen or not self._config.inner_loop.num_steps:
      return
    self._seen.add(shape)
    plan = plan_adaptation(
        self._config, self._assembly, params, meta_batch.support
    )
    size = self._config.model.ensemble_size
    _LOGGER.info(
        '%d support and %d query rows%s: %s', *shape,
        f', each of {size} members' if size > 1 else '', cost.describe(plan),
    )  # fmt: skip


def plan_adaptation(
    config: config_lib.Config,
    assembly: assembly_lib.Assembly,
    params: types.BlockParams,
    support: types.Examples,
) -> cost.Plan:
  """Returns what `adapt` will choose for raw supports, leaves [T, S, ...].

  Of an ensemble it is what each member does.
  """
  plans = []

  def trace(params, support):
    indexed = assembly.model.index(support)
    one = jax.tree.map(lambda leaf: leaf[0], indexed)
    params = ensemble.member(params, 0, config.model.ensemble_size)
    plan = inner_loop.plan(
        params.meta_block,
        params.global_block,
        assembly.model.encode(params, one),
        loss_fn=assembly.loss_fn,
        num_steps=config.inner_loop.num_steps,
        implementation=config.inner_loop.implementation,
    )
    plans.append(plan)

  jax.eval_shape(trace, params, support)
  return plans[0]
