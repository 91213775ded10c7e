"""Past sides: what past features need of side tables, joined to events."""

from collections.abc import Mapping
from collections.abc import Sequence

import ibis.expr.types as ir

from limaml_jax.data.log import opened as opened_lib
from limaml_jax.data.log import raw_log
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.tasks import ordered_events
from limaml_jax.data.tasks import ordering
from limaml_jax.data.tasks import past_events

KEYS = {'entity': ordered_events.ENTITY, 'item': ordered_events.ITEM}


def wanted(
    past: Sequence[past_events.Past],
    sources: Mapping[str, schema_lib.SideTable],
    features: Sequence[schema_lib.Feature],
) -> dict[str, list[schema_lib.Feature]]:
  """Returns the features that are needed of each side table, by its owner.

  Args:
    past: that need them.
    sources: side tables by owner.
    features: that bear on the adapted entity type.
  """
  found = {
      owner: past_events.wanted(past, raw_log.in_side_table(features, owner))
      for owner in sources
  }
  return {owner: needed for owner, needed in found.items() if needed}


def join(
    rows: ir.Table,
    past: Sequence[past_events.Past],
    opened: Mapping[str, opened_lib.Opened],
    sources: Mapping[str, schema_lib.SideTable],
    features: Sequence[schema_lib.Feature],
) -> ir.Table:
  """Joins side tables that the engine of the events has opened.

  Args:
    rows: events.
    past: features to be computed.
    opened: side tables by owner.
    sources: the same.
    features: that bear on the adapted entity type.
  """
  attributes, versions = {}, {}
  for owner, needed in wanted(past, sources, features).items():
    side = opened[owner], sources[owner], needed
    if sources[owner].valid_from:
      versions[KEYS[owner]] = ordering.versions(*side)
    else:
      attributes[KEYS[owner]] = ordering.attributes(*side)
  rows = ordering.join_attributes(rows, attributes)
  return ordering.join_versions(rows, versions)
