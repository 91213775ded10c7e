"""Schema: which columns of a log are what, and which of them are features.

Read from TOML by `schema_file`; docs/schema.md explains every key. Nothing here
opens a log.
"""

import dataclasses

FORMATS = ('atomic', 'csv', 'parquet')
TIMESTAMP_UNITS = ('s', 'ms', 'us', 'iso')
DUPLICATES = ('error', 'first', 'keep')
OWNERS = ('entity', 'item', 'context')
KINDS = ('categorical', 'bucketized', 'multi_hot', 'numeric')
NUMBER_KINDS = ('bucketized', 'numeric')  # Their cells are numbers.
PAST_KINDS = ('past_rate', 'past_count', 'past_age')  # Made of earlier events.
ROLES = ('meta', 'global', 'both')
SOURCES = ('', 'log')
TRANSFORMS = ('', 'log1p')


@dataclasses.dataclass(frozen=True)
class SideTable:
  """Attributes of entities or items.

  Attributes:
    files: globs relative to the data directory.
    format: 'atomic', 'csv' or 'parquet'.
    key: column that the log's key refers to.
    separator: between the columns of 'csv'.
    valid_from: column of the time from which a row holds. With it a key may
      have several rows, and an event reads the latest that began before it;
      without it there is one row per key.
    valid_from_unit: as `Interactions.timestamp_unit`, and the same when empty.
  """

  files: tuple[str, ...]
  format: str
  key: str
  separator: str = ','
  valid_from: str = ''
  valid_from_unit: str = ''


@dataclasses.dataclass(frozen=True)
class Interactions:
  """The log: one row per event.

  Attributes:
    files: globs relative to the data directory.
    format: 'atomic' (RecBole's), 'csv' or 'parquet'.
    item: column of the item's key.
    timestamp: column of the time of the event.
    timestamp_unit: 's', 'ms' or 'us' since 1970 UTC, or 'iso' for timestamps
      as SQL reads them.
    label: SQL expression over the log's columns that gives 0 or 1.
    duplicates: what to do with rows alike in entity, item and time: 'error',
      keep the 'first' one, or 'keep' all.
    outcomes: columns known only after the event; refused as features.
    separator: between the columns of 'csv'.
    timestamp_zone: IANA name of the zone of 'iso' timestamps that name none.
    target: SQL expression over the log's columns that gives a number from 0 to
      1, what the losses learn in place of the label; the label when empty.
    weight: SQL expression over the log's columns that gives a finite number
      above 0, the weight of an event in the losses; 1 when empty.
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
  timestamp_zone: str = 'UTC'
  target: str = ''
  weight: str = ''


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
    kind: 'categorical', 'multi_hot', 'numeric', or 'bucketized', a number that
      is embedded by the bucket it falls into; or a number made of all strictly
      earlier events that are alike in `of`: 'past_rate', the smoothed mean of
      their labels, 'past_count', or 'past_age', the hours since the latest.
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
    boundaries: between the buckets of a bucketized feature, ascending; each is
      the least value of the bucket above it. Or else
    num_buckets: as many quantiles of its training rows. A past feature with it
      is bucketized, others are numeric.
    hash_buckets: tokens of a categorical or multi_hot feature share so many
      rows by their hash, in place of a vocabulary; 0 for a vocabulary.
    minimum: least value that a number may have.
    maximum: greatest value that a number may have.
    of: what the events of a past feature are alike in: keys, features by name,
      or other columns of the log.
    prior_rows: of a past_rate, events of the mean label of all strictly
      earlier events that are added to those alike.
    window_hours: of a past_rate or past_count, how far back its events lie;
      all earlier ones when left out.
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
  boundaries: tuple[float, ...] = ()
  num_buckets: int = 0
  hash_buckets: int = 0
  minimum: float | None = None
  maximum: float | None = None
  of: tuple[str, ...] = ()
  prior_rows: float | None = None
  window_hours: float | None = None

  @property
  def is_past(self) -> bool:
    """Whether the values are made of earlier events, and stand nowhere."""
    return self.kind in PAST_KINDS

  @property
  def is_number(self) -> bool:
    """Whether the values are numbers, as they stand in the table."""
    return self.kind in NUMBER_KINDS

  @property
  def in_log(self) -> bool:
    """Whether the values stand in the log, one per event."""
    if self.is_past:
      return False
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
