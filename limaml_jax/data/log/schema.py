"""Schema: which columns of a log are what, and which of them are features.

Read from TOML by `schema_file`; experiments/schemas/ml100k.toml explains every
key. Nothing here opens a log.
"""

import dataclasses

FORMATS = ('atomic', 'csv', 'parquet')
TIMESTAMP_UNITS = ('s', 'ms', 'us', 'iso')
DUPLICATES = ('error', 'first', 'keep')
OWNERS = ('entity', 'item', 'context')
KINDS = ('categorical', 'numeric', 'multi_hot')
ROLES = ('meta', 'global', 'both')
SOURCES = ('', 'log')
TRANSFORMS = ('', 'log1p')


@dataclasses.dataclass(frozen=True)
class SideTable:
  """Attributes of entities or items, one row per key.

  Attributes:
    files: globs relative to the data directory.
    format: 'atomic', 'csv' or 'parquet'.
    key: column that the log's key refers to.
    separator: between the columns of 'csv'.
  """

  files: tuple[str, ...]
  format: str
  key: str
  separator: str = ','


@dataclasses.dataclass(frozen=True)
class Interactions:
  """The log: one row per event.

  Attributes:
    files: globs relative to the data directory.
    format: 'atomic' (RecBole's), 'csv' or 'parquet'.
    item: column of the item's key.
    timestamp: column of the time of the event.
    timestamp_unit: 's', 'ms' or 'us' since 1970 UTC, or 'iso' for timestamps
      as SQL reads them, UTC where they name no zone.
    label: SQL expression over the log's columns that gives 0 or 1.
    duplicates: what to do with rows alike in entity, item and time: 'error',
      keep the 'first' one, or 'keep' all.
    outcomes: columns known only after the event; refused as features.
    separator: between the columns of 'csv'.
  """

  files: tuple[str, ...]
  format: str
  item: str
  timestamp: str
  timestamp_unit: str
  label: str
  duplicates: str = 'error'
  outcomes: tuple[str, ...] = ()
  separator: str = ','


@dataclasses.dataclass(frozen=True)
class Entity:
  """A kind of entity whose model can be personalized.

  Attributes:
    key: column of the log.
    side_table: its attributes, if there are any.
  """

  key: str
  side_table: SideTable | None = None


@dataclasses.dataclass(frozen=True)
class Item:
  """What is recommended.

  Attributes:
    side_table: its attributes, if there are any.
  """

  side_table: SideTable | None = None


@dataclasses.dataclass(frozen=True)
class Feature:
  """One input of the network.

  Attributes:
    name: of the feature.
    owner: 'entity', 'item' or 'context' (the event itself).
    kind: 'categorical', 'numeric' or 'multi_hot'.
    role: 'meta' block, 'global' block or 'both'.
    column: of the owner's table; or else
    expression: SQL over that table's columns.
    entity: whose feature it is, where owner is 'entity'.
    source: 'log' reads an item's feature from the log, else from its side
      table.
    separator: between the values of a multi_hot feature.
    max_values: of a multi_hot feature; the first ones are kept.
    fill: stands in for an empty numeric value, before `transform`.
    transform: 'log1p' or nothing, of a numeric feature.
  """

  name: str
  owner: str
  kind: str
  role: str
  column: str = ''
  expression: str = ''
  entity: str = ''
  source: str = ''
  separator: str = ' '
  max_values: int = 0
  fill: float | None = None
  transform: str = ''

  @property
  def in_log(self) -> bool:
    """Whether the values stand in the log, one per event."""
    return self.owner == 'context' or self.source == 'log'


@dataclasses.dataclass(frozen=True)
class Schema:
  """A whole schema file.

  Attributes:
    name: of the dataset.
    interactions: the log.
    entities: by entity type.
    item: what is recommended.
    features: the two ID features excepted, which come by themselves.
    path: of the file, for messages.
  """

  name: str
  interactions: Interactions
  entities: dict[str, Entity]
  item: Item = Item()
  features: tuple[Feature, ...] = ()
  path: str = ''
