"""Feature repo: what Feast must know of meta embeddings before it keeps them.

In a Python file of the repo, before `feast apply`:

    from limaml_jax.store.feast_store import repo

    user, user_meta_embedding = repo.definitions('user', dimension=64)
"""

import datetime
import os

import feast
from feast import data_source
from feast import errors as feast_errors
from feast import types
from feast import value_type
import yaml

from limaml_jax import errors

VECTOR = 'meta_embedding'
FINGERPRINT = 'model_fingerprint'
VERSION = 'snapshot_version'
_APPLY = (
    'put `entity, view = repo.definitions({entity_type!r},'
    ' dimension={dimension})`, of limaml_jax.store.feast_store, into a Python'
    ' file of the repo and run `feast apply`'
)


def view_name(entity_type: str) -> str:
  """Returns the name of the feature view of an entity type."""
  return f'{entity_type}_{VECTOR}'


def definitions(
    entity_type: str,
    dimension: int,
    *,
    entity: feast.Entity | None = None,
    source: data_source.DataSource | None = None,
    ttl_seconds: int = 0,
) -> tuple[feast.Entity, feast.FeatureView]:
  """Returns the entity and the feature view, both to be applied.

  The view is `user_meta_embedding` for the entity type `user`; its features are
  `meta_embedding`, [E] float32, `model_fingerprint` and `snapshot_version`.

  Args:
    entity_type: whose embeddings, e.g. 'user'.
    dimension: E.
    entity: the repo's own one, whose join key must be a string; a new one has
      the name of the entity type and the join key `user_id`.
    source: where `feast materialize` and `get_historical_features` find former
      values. The store keeps none, so that there is none when left out: then
      `feast materialize` must be given the names of the other views.
    ttl_seconds: after which Feast calls a value too old, as far as it does; 0
      never. See `lookup.lookup`, which heeds its own limit alone.

  Raises:
    InputError: if the entity's keys are no strings.
  """
  entity = entity or feast.Entity(
      name=entity_type,
      join_keys=[f'{entity_type}_id'],
      value_type=value_type.ValueType.STRING,
      description=f'A {entity_type} by its key in the log.',
  )
  if entity.value_type != value_type.ValueType.STRING:
    raise errors.InputError(
        f'Feast entity {entity.name!r}: its join key {entity.join_key!r} is of'
        f' type {entity.value_type.name}; give one of type STRING, as entity'
        ' keys are'
    )
  view = feast.FeatureView(
      name=view_name(entity_type),
      entities=[entity],
      ttl=datetime.timedelta(seconds=ttl_seconds),
      schema=[
          feast.Field(name=entity.join_key, dtype=types.String),
          feast.Field(
              name=VECTOR,
              dtype=types.Array(types.Float32),
              vector_length=dimension,
          ),
          feast.Field(name=FINGERPRINT, dtype=types.String),
          feast.Field(name=VERSION, dtype=types.String),
      ],
      source=source,
      description=(
          f'Meta embedding of each {entity_type}, the model that made it, and'
          ' the snapshot that brought it; its event time is its watermark.'
      ),
  )
  return entity, view


def open_repo(path: str | os.PathLike[str]) -> feast.FeatureStore:
  """Opens a feature repo; connects to nothing yet.

  Args:
    path: folder that holds feature_store.yaml.

  Raises:
    InputError: if it holds none, or one that Feast cannot read.
  """
  try:
    return feast.FeatureStore(repo_path=os.fspath(path))
  except FileNotFoundError as error:
    raise errors.InputError(
        f'{error.filename}: no such file; give the folder of a Feast repo,'
        ' which holds feature_store.yaml'
    ) from error
  except (feast_errors.FeastError, yaml.YAMLError, ValueError) as error:
    raise errors.InputError(
        f'{os.fspath(path)}/feature_store.yaml: {error}; mend the file'
    ) from error


def find_view(
    feature_store: feast.FeatureStore,
    entity_type: str,
    *,
    dimension: int | None = None,
) -> feast.FeatureView:
  """Returns the feature view as it was applied.

  Args:
    feature_store: that holds it.
    entity_type: whose embeddings, e.g. 'user'.
    dimension: that it must have been defined with; None takes any, and a view
      that is as old as Feast's cache of its registry.

  Raises:
    InputError: if it was not applied, or is another's of the same name.
  """
  name = view_name(entity_type)
  where = f'Feast project {feature_store.project!r}'
  apply = _APPLY.format(entity_type=entity_type, dimension=dimension or 'E')
  try:
    view = feature_store.get_feature_view(
        name, allow_registry_cache=dimension is None
    )
  except (feast_errors.FeatureViewNotFoundException, OSError) as error:
    raise errors.InputError(
        f'{where}: no feature view {name!r} ({error}); {apply}'
    ) from error
  if dimension is not None:
    expected = definitions(entity_type, dimension)[1]
    found = {field.name: field.dtype for field in view.features}
    if found != {field.name: field.dtype for field in expected.features}:
      raise errors.InputError(
          f'{where}: feature view {name!r} has other features'
          f' ({", ".join(sorted(found))}) or types; {apply}'
      )
    if [column.dtype for column in view.entity_columns] != [types.String]:
      raise errors.InputError(
          f'{where}: feature view {name!r}: not one join key of type String,'
          f' as entity keys are; {apply}'
      )
    lengths = {field.name: field.vector_length for field in view.features}
    if lengths[VECTOR] != dimension:
      raise errors.InputError(
          f'{where}: feature view {name!r} is of dimension {lengths[VECTOR]},'
          f' the snapshot of {dimension}; {apply}'
      )
  return view
