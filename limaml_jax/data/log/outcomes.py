"""Outcomes: columns of the log that exist only once the event is over."""

from collections.abc import Sequence

from limaml_jax import errors
from limaml_jax.data.log import expressions
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import spelling
from limaml_jax.data.log import tables


def check_features(
    schema: schema_lib.Schema,
    features: Sequence[schema_lib.Feature],
) -> None:
  """Refuses features of the log that are known only after the event.

  Raises:
    InputError: for the first one that is an outcome, or of which the label or
      the target is made.
  """
  interactions = schema.interactions
  place = f'{schema.path}: interactions.label'
  outcomes = dict.fromkeys(interactions.outcomes, 'an outcome of the event')
  for name in expressions.names_in(interactions.label, place):
    outcomes[name] = 'what the label is made of'
  if interactions.target:
    place = f'{schema.path}: interactions.target'
    for name in expressions.names_in(interactions.target, place):
      outcomes.setdefault(name, 'what the target is made of')
  folded = {name.casefold(): (name, why) for name, why in outcomes.items()}
  for feature in features:
    place = f'{schema.path}: feature {feature.name!r}'
    names = [feature.column] if feature.column else expressions.names_in(
        feature.expression, place
    )
    for name in names:
      if name.casefold() in folded:
        known, why = folded[name.casefold()]
        raise errors.InputError(
            f'{place}: column {known!r} is {why}, unknown when the event is'
            ' scored; remove the feature'
        )


def check_columns(schema: schema_lib.Schema, table: tables.Table) -> None:
  """Refuses outcomes that the log does not have: misspelled, they leak.

  Raises:
    InputError: for the first one.
  """
  for name in schema.interactions.outcomes:
    if name not in table.columns:
      raise errors.InputError(
          f'{schema.path}: interactions.outcomes: {table.files[0]} has no'
          f' column {name!r}; {spelling.nearest(name, list(table.columns))}'
      )
