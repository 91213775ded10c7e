"""Scoring: a request typed by hand, answered as the server of a bundle does."""

import asyncio
from collections.abc import Mapping
from collections.abc import Sequence
import math

from limaml_jax import errors
from limaml_jax import types
from limaml_jax.bundle import columns as columns_lib
from limaml_jax.serving import request as request_lib
from limaml_jax.serving import service as service_lib


def parse_context(pairs: Sequence[str]) -> dict[str, list[str]]:
  """Reads NAME=VALUE pairs; returns the values of each name.

  Raises:
    InputError: for a pair without '='.
  """
  values: dict[str, list[str]] = {}
  for pair in pairs:
    name, equals, value = pair.partition('=')
    if not equals:
      raise errors.InputError(f'--context={pair}: write NAME=VALUE')
    values.setdefault(name, []).append(value)
  return values


def score(
    service: service_lib.Service,
    entity: str,
    candidates: Sequence[str],
    context: Mapping[str, Sequence[str]],
) -> service_lib.Scored:
  """Scores candidates of one entity.

  Args:
    service: an open bundle.
    entity: key.
    candidates: keys of items, [c].
    context: values by feature, as the log spells them.

  Raises:
    InputError: for a context that names another feature, or no number.
  """
  columns = service.versions.current.bundle.columns
  given = {
      name: request_lib.Given([_parse(columns, name, values)])
      for name, values in context.items()
  }
  request = request_lib.make(
      [entity], candidates, given, limits=service.settings
  )
  try:
    return asyncio.run(service.score(request))
  except errors.InputError as error:
    raise errors.InputError(f'--context: {error}') from error


def _parse(
    columns: columns_lib.Columns, name: str, values: Sequence[str]
) -> str | float | list[str] | None:
  """Returns the value of a feature as a request has it."""
  if name not in columns.by_name:
    raise errors.InputError(
        f'--context: unknown feature {name}; there are'
        f' {", ".join(columns.by_name)}'
    )
  spec = columns.by_name[name].spec
  if spec.kind == 'multi_hot':
    return list(filter(None, values))
  if len(values) > 1:
    raise errors.InputError(
        f'--context: {name} is given {len(values)} values; give it one'
    )
  (text,) = values
  if not text:
    return None
  return text if spec.kind == 'categorical' else _number(spec, text)


def _number(spec: types.FeatureSpec, text: str) -> float:
  try:
    number = float(text)
  except ValueError:
    number = math.inf
  if math.isinf(number) or (spec.transform == 'log1p' and number <= -1):
    limit = ' above -1' if spec.transform == 'log1p' else ''
    raise errors.InputError(
        f'--context: {spec.name} is {text!r}; it must be a finite number{limit}'
    )
  return number
