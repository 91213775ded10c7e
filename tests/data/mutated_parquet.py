"""Parquet files of odd types and layouts, for `mutations`."""

import datetime
import decimal

import pyarrow as pa
import pyarrow.parquet as pq

_UTC = datetime.datetime(2001, 9, 9, tzinfo=datetime.UTC)
# Of each type, a value.
_ODD = (
    (pa.decimal128(20, 3), decimal.Decimal('1000000000.125')),
    (pa.decimal256(50, 0), decimal.Decimal(4)),
    (pa.struct([('a', pa.int32())]), {'a': 4}),
    (pa.list_(pa.int32()), [4, None]),
    (pa.list_(pa.string()), ['a', 'b|c', None]),
    (pa.list_(pa.list_(pa.string())), [['a'], None]),
    (pa.list_(pa.struct([('a', pa.int32())])), [{'a': 1}]),
    (pa.list_(pa.float32(), 2), [1.0, float('nan')]),
    (pa.map_(pa.string(), pa.int32()), [('a', 1)]),
    (pa.bool_(), True),
    (pa.timestamp('us', 'UTC'), _UTC),
    (pa.timestamp('ns', 'Asia/Tokyo'), _UTC),
    (pa.timestamp('ms'), _UTC.replace(tzinfo=None)),
    (pa.date32(), _UTC.date()),
    (pa.time64('us'), datetime.time(1, 2)),
    (pa.duration('s'), datetime.timedelta(seconds=9)),
    (pa.dictionary(pa.int8(), pa.string()), 'ann'),
    (pa.binary(), b'ann\xff\x00'),
    (pa.binary(4), b'\xffabc'),
    (pa.large_string(), 'ann'),
    (pa.null(), None),
    (pa.int8(), 4),
    (pa.uint64(), 2**64 - 1),
    (pa.int64(), -(2**63)),
    (pa.float32(), float('nan')),
    (pa.float64(), float('inf')),
    (pa.float64(), 1e308),
    (pa.string(), 'a\x00b\nc\u2028d'),
    (pa.string(), ''),
)


def rewrite_columns(path, rng):
  """Gives one or two columns an odd type, in all rows or in the last ones."""
  table = pq.read_table(path)
  for place in rng.sample(range(table.num_columns), rng.choice([1, 1, 2])):
    kind, value = rng.choice(_ODD)
    whole = rng.random() < 0.7
    num_empty = 0 if whole else rng.randrange(table.num_rows)
    values = [None] * num_empty + [value] * (table.num_rows - num_empty)
    name = table.column_names[place]
    table = table.set_column(place, name, pa.array(values, kind))
  pq.write_table(table, path)


def rewrite_layout(path, rng):
  """Writes a log with odd columns, groups or compression, or without rows."""
  table = pq.read_table(path)
  kind = rng.choice(['no_rows', 'no_columns', 'twice', 'groups', 'encoded',
                     'folded', 'row_number', 'two_files'])
  options = {}
  if kind == 'no_rows':
    table = table.slice(0, 0)
  elif kind == 'no_columns':
    table = table.select([])
  elif kind == 'twice':
    table = table.append_column(rng.choice(table.column_names), table['user'])
  elif kind == 'groups':
    options = {'row_group_size': 1, 'compression': 'gzip'}
  elif kind == 'encoded':
    options = {'use_dictionary': False, 'compression': 'zstd'}
  elif kind == 'folded':
    name = rng.choice(table.column_names).upper()
    table = table.append_column(name, table['user'])
  elif kind == 'row_number':
    name = rng.choice(['file_row_number', '__row', '__file', 'filename'])
    table = table.append_column(name, table['time'])
  else:
    place = rng.randrange(table.num_columns)
    texts = pa.array(['x'] * table.num_rows)
    other = table.set_column(place, table.column_names[place], texts)
    pq.write_table(other, path.with_name('log2.parquet'))
  pq.write_table(table, path, **options)
