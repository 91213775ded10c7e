"""Features as they are once the log is ordered: what joined, and counted."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses

from limaml_jax.data.log import schema as schema_lib


def as_downstream(
    features: Sequence[schema_lib.Feature],
    sides: Mapping[str, schema_lib.SideTable],
) -> tuple[schema_lib.Feature, ...]:
  """Returns features as they are once the log is ordered.

  What changes in time is joined into the log: from there on each event has
  its own. So is what past features count: they are numbers of the event.
  """
  found = []
  for feature in features:
    if feature.is_past:
      found.append(_as_number(feature))
      continue
    source = None if feature.in_log else sides[feature.owner]
    if source is None or not source.valid_from:
      found.append(feature)
    else:
      found.append(dataclasses.replace(feature, source='log'))
  return tuple(found)


def _as_number(feature):
  kind = 'bucketized' if feature.num_buckets else 'numeric'
  is_rate = feature.kind == 'past_rate'
  return dataclasses.replace(
      feature,
      kind=kind,
      transform='log1p' if kind == 'numeric' and not is_rate else '',
      of=(),
      prior_rows=None,
      window_hours=None,
  )
