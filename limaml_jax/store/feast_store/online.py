"""Online store of Feast: rows written to it and read from it by its own API."""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import datetime
from typing import NamedTuple

import feast
from feast.protos.feast.types import EntityKey_pb2
from feast.protos.feast.types import Value_pb2

from limaml_jax import errors
from limaml_jax.store.feast_store import repo

# As Feast takes it: key, values by feature, event time, time of creation.
_FeastRow = tuple[
    EntityKey_pb2.EntityKey,
    dict[str, Value_pb2.Value],
    datetime.datetime,
    datetime.datetime | None,
]


class Row(NamedTuple):
  """What Feast holds of one entity.

  Attributes:
    key: of the entity.
    vector: its meta embedding, [E]; None if there is none.
    fingerprint: of the model that made it.
    version: of the snapshot that brought it.
    event_timestamp: UTC seconds; 0 for an entity that Feast has never heard of.
  """

  key: str
  vector: Sequence[float] | None
  fingerprint: str
  version: str
  event_timestamp: int


def write(
    feature_store: feast.FeatureStore,
    view: feast.FeatureView,
    rows: Sequence[Row],
    *,
    created: int,
) -> None:
  """Writes rows over those of the same keys.

  Args:
    feature_store: that receives them.
    view: as `repo.find_view` returns it.
    rows: without a vector, they are null in all features.
    created: UTC seconds.

  Raises:
    InputError: if the online store fails, or a time is no date.
  """
  (join_key,) = view.join_keys
  created_time = _date(created)
  data: list[_FeastRow] = [
      (
          EntityKey_pb2.EntityKey(
              join_keys=[join_key],
              entity_values=[Value_pb2.Value(string_val=row.key)],
          ),
          _values(row),
          _date(row.event_timestamp),
          created_time,
      )
      for row in rows
  ]
  with _failing_clearly(feature_store):
    feature_store.provider.online_write_batch(
        feature_store.config, view, data, None
    )


def read(
    feature_store: feast.FeatureStore,
    view: feast.FeatureView,
    keys: Sequence[str],
) -> list[Row]:
  """Returns the row of each key, which may be unknown or come again.

  Raises:
    InputError: if the online store fails.
  """
  (join_key,) = view.join_keys
  names = (repo.VECTOR, repo.FINGERPRINT, repo.VERSION)
  with _failing_clearly(feature_store):
    answer = feature_store.get_online_features(
        features=[f'{view.name}:{name}' for name in names],
        entity_rows=[{join_key: key} for key in keys],
    ).to_dict(include_event_timestamps=True)
  columns = [answer[name] for name in (*names, f'{repo.VECTOR}__ts')]
  return [Row(*values) for values in zip(keys, *columns, strict=True)]


def check_writable(feature_store: feast.FeatureStore) -> None:
  """Refuses no online store, and Redis as Feast sets it up.

  That passes over a row that is no newer than the one it holds; a snapshot
  that is rolled back, or of another model, has such rows.

  Raises:
    InputError: if the online store is one of these.
  """
  if feature_store.config.online_store is None:
    raise errors.InputError(
        f'Feast project {feature_store.project!r}: has no online store; set'
        ' online_store in feature_store.yaml'
    )
  if not getattr(feature_store.config.online_store, 'skip_dedup', True):
    raise overwriting_refused(feature_store)


def overwriting_refused(feature_store: feast.FeatureStore) -> errors.InputError:
  """Returns the error of an online store that keeps the older row."""
  return errors.InputError(
      f'{_place(feature_store)} passes over rows that are no newer than those'
      ' it holds; for Redis set skip_dedup: true under online_store in'
      ' feature_store.yaml'
  )


def _values(row: Row) -> dict[str, Value_pb2.Value]:
  if row.vector is None:
    # Feast deletes no row; null is what it answers for an unknown entity.
    return {
        name: Value_pb2.Value()
        for name in (repo.VECTOR, repo.FINGERPRINT, repo.VERSION)
    }
  numbers = Value_pb2.FloatList(val=row.vector)
  return {
      repo.VECTOR: Value_pb2.Value(float_list_val=numbers),
      repo.FINGERPRINT: Value_pb2.Value(string_val=row.fingerprint),
      repo.VERSION: Value_pb2.Value(string_val=row.version),
  }


def _date(seconds: int) -> datetime.datetime:
  try:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
  except (ValueError, OverflowError, OSError) as error:
    raise errors.InputError(
        f'time {seconds}: no date that Feast can hold; write the snapshot with'
        ' times in seconds'
    ) from error


def _place(feature_store: feast.FeatureStore) -> str:
  kind = getattr(feature_store.config.online_store, 'type', None)
  return f'Feast project {feature_store.project!r}: its online store ({kind})'


@contextlib.contextmanager
def _failing_clearly(feature_store: feast.FeatureStore) -> Iterator[None]:
  try:
    yield
  except Exception as error:  # Each online store raises its driver's own.
    raise errors.InputError(
        f'{_place(feature_store)} failed ({type(error).__name__}: {error}); see'
        ' that it runs, and that `feast apply` has been run since'
        ' feature_store.yaml changed'
    ) from error
