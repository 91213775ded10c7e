"""The variants that every comparison carries, as settings on top of a config.

`limaml` is the configuration itself. Each other one differs from it in one
idea; whatever a configuration file tunes for a variant comes on top.
"""

from collections.abc import Mapping
import dataclasses

from ml_collections import config_dict

from limaml_jax import config as config_lib
from limaml_jax import overrides

# The same network without an inner loop: attributes, but no identity. Where the
# configured meta block is an id_embedding, a configuration whose entities have
# attributes says mlp for this variant; without any there is no more to read.
GLOBAL = 'global'
# The same, with an embedding per entity ID and a linear path: what the paper
# calls the wide-and-deep entity-ID baseline; bilinear, too, where LiMAML is.
WIDE_DEEP_ID = 'wide_deep_id'
# LiMAML's own checkpoint, served without adaptation.
UNADAPTED = 'unadapted'
# Meta-trained without second derivatives.
FIRST_ORDER = 'first_order'
LIMAML = 'limaml'

TRAINED = {
    GLOBAL: {'inner_loop.num_steps': 0},
    WIDE_DEEP_ID: {
        'inner_loop.num_steps': 0,
        'model.meta_block.kind': 'id_embedding',
        'model.global_block.wide': True,
    },
    FIRST_ORDER: {'inner_loop.first_order': True},
    LIMAML: {},
}

# Tuned settings by variant, by dotted name.
Tuned = Mapping[str, Mapping[str, object]]


def apply(variant: str, config: config_lib.Config) -> config_lib.Config:
  """Turns a configuration into a variant; nothing turns it into another."""
  config = overrides.override(config, TRAINED[variant])
  if variant == GLOBAL and config.model.meta_block.reads_history:
    # Without inner steps, too, a history tells one entity from another.
    config = overrides.override(config, {'model.meta_block.kind': 'mlp'})
  return config


def settings(
    config: config_lib.Config, tuned: Tuned
) -> config_dict.ConfigDict:
  """Returns what `get_config` of a configuration file has to return.

  Args:
    config: of LiMAML, and what all variants share.
    tuned: what else was chosen for each variant.
  """
  result = config_dict.ConfigDict(dataclasses.asdict(config))
  result.variants = config_dict.ConfigDict(
      {name: tuple(tuned.get(name, {}).items()) for name in TRAINED}
  )
  return result


def resolve(
    settings: config_dict.ConfigDict,
    variant: str,
    given: Mapping[str, object],
) -> config_lib.Config:
  """Returns the settings of a variant.

  Args:
    settings: what `get_config` of a configuration file returns.
    variant: one of TRAINED.
    given: settings that come on top, by dotted name.

  Raises:
    InputError: for a setting that does not exist.
  """
  shared = settings.to_dict()
  tuned = dict(shared.pop('variants')[variant])
  config = config_lib.Config()
  for layer in (overrides.flatten_mapping(shared), tuned, given):
    config = overrides.override(config, layer)
  return apply(variant, config)


def with_seed(config: config_lib.Config, seed: int) -> config_lib.Config:
  """Returns the settings with another training seed."""
  return overrides.override(config, {'training.seed': seed})
