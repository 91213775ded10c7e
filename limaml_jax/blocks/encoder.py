"""Turns the raw features of rows into the vectors that a block reads.

In two steps, so that only the rows of a table that a batch needs are ever
differentiated: `index` says which table rows the features mean, `lookup` reads
them, from whole tables or from rows that were gathered beforehand.

Features whose embeddings have the same number of columns share one table:
a step then costs a few large gathers, not one for every feature.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from limaml_jax import types

_MAX_DEVIATION = 5.0  # Standardized numeric values are clipped to +-5.
_MIN_DIMENSION = 4
# A table of more rows is large: they are dealt into hands, and drawn in place.
MANY_ROWS = 2**16
_NUM_HANDS = 4096


class Placement(NamedTuple):
  """Where the embedding of a feature lies.

  Attributes:
    table: name of the shared table.
    offset: its row 0 there.
    num_rows: of its vocabulary.
    dimension: columns.
  """

  table: str
  offset: int
  num_rows: int
  dimension: int


class Layout(dict[str, Placement]):
  """Where each feature lies, by its name; it does not change once made."""

  def __hash__(self) -> int:
    return hash(frozenset(self.items()))


class IndexedFeatures(NamedTuple):
  """Features of rows, ready for a lookup; any leading axes.

  Attributes:
    ids: table rows by table, [..., slots]; -1 reads nothing. A multi_hot
      feature has `max_values` slots, others one, in order of specs.
    numeric: standardized, [..., numeric features].
  """

  ids: Mapping[str, types.Array]
  numeric: types.Array


def make_layout(
    specs: Sequence[types.FeatureSpec],
    *,
    max_dimension: int,
    dimensions: dict[str, int],
) -> Layout:
  """Places each embedded feature in a table of its dimension.

  Args:
    specs: of all features of a model.
    max_dimension: columns of the widest table.
    dimensions: columns of features that do not follow the rule 2 V^(1/4),
      rounded up to a power of 2.
  """
  layout, filled = {}, {}
  for spec in specs:
    if spec.kind == 'numeric' or spec.name in layout:
      continue
    rule = 2 ** math.ceil(math.log2(2 * spec.num_rows**0.25))
    rule = min(max(rule, _MIN_DIMENSION), max_dimension)
    dimension = dimensions.get(spec.name, rule)
    table = f'dimension_{dimension}'
    offset = filled.get(table, 0)
    layout[spec.name] = Placement(table, offset, spec.num_rows, dimension)
    filled[table] = offset + spec.num_rows
  return Layout(layout)


def _count_rows(layout: Layout) -> dict[str, int]:
  """Returns how many rows of each table are some feature's."""
  counts = {}
  for place in layout.values():
    end = place.offset + place.num_rows
    counts[place.table] = max(end, counts.get(place.table, 0))
  return counts


def _deal(rows: types.Array, num_rows: int) -> types.Array:
  """Returns where rows lie in a table: a large one's are dealt like cards.

  Vocabularies begin with what is frequent. So that no device of those that a
  table is divided over has it all, each of _NUM_HANDS equal parts of the table
  gets one row in turn. It is the same for any number of devices.
  """
  if num_rows <= MANY_ROWS:
    return rows
  return rows % _NUM_HANDS * -(-num_rows // _NUM_HANDS) + rows // _NUM_HANDS


def init_tables(
    key: jax.Array, layout: Layout, *, scale: float, rows_multiple: int = 1
) -> types.Tables:
  """Returns normally distributed tables, [V, dimension] each.

  Out-of-vocabulary rows start at 0, the mean of the others: where training
  never meets one, the unknown is nobody in particular.

  Args:
    key: random key.
    layout: what lies in them.
    scale: standard deviation.
    rows_multiple: V is rounded up to this, so that tables shard evenly.
  """
  dimensions = {place.table: place.dimension for place in layout.values()}
  tables = {}
  for name, num_rows in sorted(_count_rows(layout).items()):
    key, table_key = jax.random.split(key)
    is_large = num_rows > MANY_ROWS
    multiple = math.lcm(rows_multiple, _NUM_HANDS if is_large else 1)
    shape = (-(-num_rows // multiple) * multiple, dimensions[name])
    draw = _hash_normal if is_large else jax.random.normal
    rows = scale * draw(table_key, shape)
    unknown = [p.offset for p in layout.values() if p.table == name]
    unknown = _deal(jnp.asarray(unknown), num_rows)
    tables[name] = rows.at[unknown].set(0)
  return tables


def _hash_normal(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
  """Returns normal numbers, each a hash of its place and of the key.

  On CPUs jax.random.normal holds three more arrays of the shape on the way.
  This holds none, as it is elementwise, and is the same however it is divided.
  """
  first, second = jax.random.bits(key, (2,))
  row, column = (jax.lax.broadcasted_iota(jnp.uint32, shape, n) for n in (0, 1))
  bits = _mix(_mix(row ^ first) + column * jnp.uint32(0x9E3779B9) ^ second)
  # The middle of one of 2^23 equal parts of (-1, 1), which float32 holds.
  uniform = ((bits >> 9).astype(jnp.float32) + 0.5) * 2.0**-22 - 1.0
  return jnp.sqrt(2.0) * jax.lax.erf_inv(uniform)


def _mix(x: jax.Array) -> jax.Array:
  """The finalizer of MurmurHash3 (Appleby): every bit depends on every bit."""
  x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
  x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
  return x ^ (x >> 16)


def num_features(specs: Sequence[types.FeatureSpec], layout: Layout) -> int:
  """Returns F, the size of the vector that `lookup` makes of `specs`."""
  return sum(layout[s.name].dimension if s.name in layout else 1 for s in specs)


def index(
    features: types.Features,
    *,
    specs: Sequence[types.FeatureSpec],
    layout: Layout,
) -> IndexedFeatures:
  """Names the table rows of raw features; any leading axes, numpy or jax."""
  slots, numeric, num_rows = {}, [], _count_rows(layout)
  for spec in specs:
    value = features[spec.name]
    if spec.kind == 'numeric':
      value = jnp.where(jnp.isnan(value), spec.mean, value)  # Unknown.
      standardized = (value - spec.mean) / spec.std
      numeric.append(jnp.clip(standardized, -_MAX_DEVIATION, _MAX_DEVIATION))
      continue
    place = layout[spec.name]
    rows = _deal(value + place.offset, num_rows[place.table])
    ids = jnp.where(value < 0, -1, rows)
    ids = ids if spec.kind == 'multi_hot' else ids[..., None]
    slots.setdefault(place.table, []).append(ids)
  ids = {table: jnp.concatenate(parts, -1) for table, parts in slots.items()}
  if numeric:
    return IndexedFeatures(ids=ids, numeric=jnp.stack(numeric, -1))
  leading = next((rows.shape[:-1] for rows in ids.values()), ())
  return IndexedFeatures(ids=ids, numeric=jnp.zeros((*leading, 0)))


def no_features(leading: tuple[int, ...]) -> IndexedFeatures:
  """Returns what `index` makes of rows that have no feature."""
  return IndexedFeatures(ids={}, numeric=jnp.zeros((*leading, 0)))


def lookup(
    tables: types.Tables,
    indexed: IndexedFeatures,
    *,
    specs: Sequence[types.FeatureSpec],
    layout: Layout,
) -> jax.Array:
  """Maps one row's indexed features to one vector, [F], in order of `specs`.

  A multi_hot feature is the mean of its rows, 0 when it has none.
  """
  read = {
      table: jnp.where((ids >= 0)[:, None], tables[table][ids], 0)
      for table, ids in indexed.ids.items()
  }
  position = dict.fromkeys(read, 0)
  columns, num_numeric = [], 0
  for spec in specs:
    if spec.kind == 'numeric':
      columns.append(indexed.numeric[num_numeric : num_numeric + 1])
      num_numeric += 1
      continue
    table = layout[spec.name].table
    start = position[table]
    position[table] = stop = start + max(spec.max_values, 1)
    rows = read[table][start:stop]
    present = jnp.sum(indexed.ids[table][start:stop] >= 0)
    columns.append(jnp.sum(rows, axis=0) / jnp.maximum(present, 1))
  return jnp.concatenate(columns) if columns else jnp.zeros((0,))
