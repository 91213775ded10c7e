"""Settings by dotted name: read, replaced, and checked."""

from collections.abc import Mapping
import dataclasses
import difflib
from typing import Any
from typing import NoReturn

from limaml_jax import config as config_lib
from limaml_jax import errors

_CHOICES = {
    'protocol.split': ('within_entity', 'by_time'),
    'protocol.phase': ('test', 'validation'),
    'episodes.task_weighting': ('task', 'row'),
    'model.meta_block.kind': (
        'mlp', 'id_embedding', 'deep_sets', 'transformer'
    ),  # fmt: skip
    'model.meta_block.pooling': ('latest', 'mean', 'max'),
    'model.meta_block.activation': ('relu', 'gelu', 'tanh', 'silu'),
    'model.meta_block.compute_dtype': ('float32', 'bfloat16'),
    'model.global_block.compute_dtype': ('float32', 'bfloat16'),
    'inner_loop.implementation': ('auto', 'plain', 'low_rank'),
    'outer_loop.table_optimizer': ('adam', 'row_wise_adagrad'),
    'outer_loop.ranking_loss': ('pairwise', 'listwise'),
}

_POSITIVE = (
    'episodes.tasks_per_step',
    'episodes.num_support_buckets',
    'episodes.num_query_buckets',
    'outer_loop.gradient_clip',
    'model.meta_block.embedding_size',
    'model.meta_block.history_width',
    'model.meta_block.history_layers',
    'model.meta_block.history_heads',
    'model.max_table_dimension',
    'model.ensemble_size',
    'inner_loop.learning_rate',
    'outer_loop.num_epochs',
    'training.log_every',
    'training.checkpoint_every',
    'training.mesh_rows',
    'refresh.entities_per_chunk',
)
_NOT_NEGATIVE = (
    'data.min_count',
    'episodes.support_half_life_days',
    'episodes.support_half_life_events',
    'model.global_block.num_cross_layers',
    'inner_loop.num_steps',
    'inner_loop.prior_rows',
    'outer_loop.learning_rate',
    'outer_loop.table_learning_rate',
    'outer_loop.weight_decay',
    'outer_loop.warmup_fraction',
    'outer_loop.embedding_penalty',
    'outer_loop.ranking_weight',
    'refresh.max_age_hours',
    'training.seed',
    'training.memory_budget_bytes',
)
_SHARES = ('episodes.support_dropout', 'outer_loop.early_loss_share')
_BUCKETS = ('episodes.support_buckets', 'episodes.query_buckets')
_WIDTHS = ('model.meta_block.widths', 'model.global_block.widths')


def flatten(config: config_lib.Config) -> dict[str, object]:
  """Returns every setting by its dotted name."""
  return flatten_mapping(dataclasses.asdict(config))


def flatten_mapping(
    settings: Mapping[str, object], prefix: str = ''
) -> dict[str, object]:
  """Returns the values of nested mappings by their dotted names."""
  flat = {}
  for name, value in settings.items():
    if isinstance(value, Mapping):
      flat |= flatten_mapping(value, f'{prefix}{name}.')
    else:
      flat[prefix + name] = value
  return flat


def nearest(name: str) -> str:
  """Suggests the setting that an unknown name may have meant, or nothing."""
  known = flatten(config_lib.Config())
  matches = difflib.get_close_matches(name, known, n=1)
  return f'; did you mean {matches[0]}?' if matches else ''


def override(
    config: config_lib.Config, settings: Mapping[str, object]
) -> config_lib.Config:
  """Returns the configuration with settings replaced, by dotted name.

  Raises:
    InputError: for an unknown name, a value of another type, or one that is
      not among the choices.
  """
  known = flatten(config)
  for name, value in settings.items():
    if name not in known:
      raise errors.InputError(f'setting {name}: unknown{nearest(name)}')
    config = _replace(config, name.split('.'), _convert(name, value, known))
  _check(flatten(config))
  return config


def _check(settings: Mapping[str, Any]) -> None:
  for name, choices in _CHOICES.items():
    if settings[name] not in choices:
      _refuse(name, settings, f'choose one of {", ".join(choices)}')
  for name in _POSITIVE:
    if not settings[name] > 0:
      _refuse(name, settings, 'it must be positive')
  for name in _NOT_NEGATIVE:
    if not settings[name] >= 0:
      _refuse(name, settings, 'it must not be negative')
  for name in _SHARES:
    if not 0 <= settings[name] <= 1:
      _refuse(name, settings, 'it must be in 0..1')
  if not 0 <= settings['outer_loop.holdout_fraction'] < 1:
    _refuse(
        'outer_loop.holdout_fraction', settings, 'it must be in 0..1, and not 1'
    )
  dropout_end = settings['episodes.support_dropout_end']
  if not (0 <= dropout_end <= 1 or dropout_end == -1):
    _refuse(
        'episodes.support_dropout_end', settings, 'it must be in 0..1, or -1'
    )
  _check_history(settings)
  for name in (*_BUCKETS, *_WIDTHS):
    if not all(type(size) is int and size > 0 for size in settings[name]):
      _refuse(name, settings, 'it must be positive whole numbers')
  for name in _BUCKETS:
    sizes = list(settings[name])
    if not sizes or sizes != sorted(set(sizes)):
      _refuse(name, settings, 'it must be sizes in ascending order')


def _check_history(settings: Mapping[str, Any]) -> None:
  block = 'model.meta_block.'
  kind = settings[f'{block}kind']
  width = settings[f'{block}history_width']
  if kind == 'transformer' and width % settings[f'{block}history_heads']:
    _refuse(
        f'{block}history_heads',
        settings,
        f'it must divide {block}history_width, {width}',
    )
  pooling = settings[f'{block}pooling']
  if kind in ('deep_sets', 'transformer') and pooling != 'latest':
    _refuse(
        f'{block}pooling',
        settings,
        f"a {kind} needs 'latest': its history is the pool",
    )


def _refuse(name: str, settings: Mapping[str, object], remedy: str) -> NoReturn:
  raise errors.InputError(f'setting {name} is {settings[name]!r}; {remedy}')


def _convert(name: str, value: object, known: Mapping[str, object]) -> object:
  wanted = type(known[name])
  if wanted is float and type(value) is int:
    return float(value)
  if wanted is tuple and isinstance(value, list | tuple):
    return tuple(value)
  if type(value) is not wanted:
    raise errors.InputError(
        f'setting {name} is {value!r}; it must be of type {wanted.__name__}'
    )
  return value


def _replace(config, path: list[str], value: object):
  name, *rest = path
  if rest:
    value = _replace(getattr(config, name), rest, value)
  return dataclasses.replace(config, **{name: value})


def without_seed(config: config_lib.Config) -> config_lib.Config:
  """Returns what runs have in common that differ by their seed alone."""
  return override(config, {'training.seed': 0})
