"""Encoding: what the numbers of a dataset mean, kept while its log grows.

A model reads numbers as those of its training were meant: a row of a table is
one token's, a number is so far from one mean. `prepare(encoding_of=...)` takes
all of it from an earlier dataset and fits nothing.
"""

import pathlib
from typing import NamedTuple

import pyarrow as pa

from limaml_jax import errors
from limaml_jax.data import dataset
from limaml_jax.data.log import downstream
from limaml_jax.data.log import raw_log
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.tasks import fitting

_ELSE = (
    'or prepare without --encoding_of, into another directory, and train anew'
)
# What the schema says of a feature, and its numbers depend on.
_STATED = (
    'kind', 'owner', 'role', 'max_values', 'transform', 'hash_buckets',
    'per_event',
)  # fmt: skip


class Encoding(NamedTuple):
  """How an earlier dataset was encoded.

  Attributes:
    features: by name and in order, the two IDs first.
    entity_type: of the tasks.
    entity_feature: that is the entity's ID.
    item_feature: that is the item's ID.
    fingerprint: `DatasetInfo.encoding`.
    place: the directory, for messages.
  """

  features: dict[str, fitting.Fitted]
  entity_type: str
  entity_feature: str
  item_feature: str
  fingerprint: str
  place: str


def load(directory: str | pathlib.Path) -> Encoding:
  """Reads the encoding of a prepared dataset.

  Raises:
    InputError: if there is no whole dataset.
  """
  info = dataset.load_info(directory)
  vocabularies = dataset.load_vocabularies(directory)
  features = {}
  for spec in info.features:
    # Taken out one by one, so that no vocabulary is held twice for long.
    tokens = vocabularies.pop(spec.name, None)
    has_tokens = spec.kind in ('categorical', 'multi_hot')
    if has_tokens and not spec.hash_buckets:
      if tokens is None or len(tokens) + 1 != spec.num_rows:
        raise errors.InputError(
            f'{directory}: feature {spec.name!r}: its vocabulary is not that of'
            ' the dataset; run `python -m experiments.prepare` again'
        )
      tokens = pa.array(tokens, pa.string())
    features[spec.name] = fitting.Fitted(spec, tokens)
  return Encoding(
      features=features,
      entity_type=info.entity_type,
      entity_feature=info.entity_feature,
      item_feature=info.item_feature,
      fingerprint=info.encoding,
      place=str(directory),
  )


def check(
    kept: Encoding, schema: schema_lib.Schema, task_entity: str
) -> None:
  """Makes sure that a schema asks for what an earlier dataset has.

  Args:
    kept: of the earlier dataset.
    schema: of the log.
    task_entity: entity type that is adapted.

  Raises:
    InputError: for the first thing that differs.
  """
  entity = raw_log.find_entity(schema, task_entity)
  for what, asked, earlier in (
      ('data.task_entity', task_entity, kept.entity_type),
      (f'entities.{task_entity}.key', entity.key, kept.entity_feature),
      ('interactions.item', schema.interactions.item, kept.item_feature),
  ):
    if asked != earlier:
      raise _differs(kept, schema, what, asked, earlier)
  features = downstream.as_downstream(
      raw_log.features_of(schema, task_entity),
      raw_log.side_sources(schema, entity),
  )
  _check_names(kept, schema, {feature.name for feature in features})
  for feature in features:
    spec = kept.features[feature.name].spec
    asked = fitting.specify(feature)
    place = f'feature {feature.name!r}: '
    for name in _STATED:
      one, other = getattr(asked, name), getattr(spec, name)
      if one != other:
        raise _differs(kept, schema, place + name, one, other)
    # Those of quantiles are in no schema.
    if feature.boundaries not in ((), spec.boundaries):
      what = f'{place}boundaries'
      raise _differs(kept, schema, what, feature.boundaries, spec.boundaries)


def _check_names(kept, schema, names):
  earlier = kept.features.keys() - {kept.entity_feature, kept.item_feature}
  for name in sorted(earlier - names):
    raise errors.InputError(
        f'{schema.path}: feature {name!r} is missing, but {kept.place}, whose'
        f' encoding is to be kept, has it; add it, {_ELSE}'
    )
  for name in sorted(names - earlier):
    raise errors.InputError(
        f'{schema.path}: feature {name!r} is new, and {kept.place}, whose'
        f' encoding is to be kept, lacks it; remove it, {_ELSE}'
    )


def _differs(kept, schema, what, asked, earlier) -> errors.InputError:
  return errors.InputError(
      f'{schema.path}: {what} is {asked!r}, but {earlier!r} in {kept.place},'
      f' whose encoding is to be kept; restore it, {_ELSE}'
  )
