"""Mutations: ways to spoil the files of a small log, each by a seed.

A mutation takes the log and a `random.Random`, and changes files, the schema
or, by what it returns, the settings. Mutations of the files are here, the
others in `schema_mutations`.
"""

import random
import shutil

import log_formats
import mutated_parquet

FILES = ('log.csv', 'users.csv', 'movies.csv')
_FORMATS = ('csv', 'gz', 'parquet', 'atomic')
_CELLS = (
    '', ' ', 'x', '0', '-1', '1.5', 'nan', '-inf', 'inf', '1e400', '1e-400',
    '-9223372036854775809', '99999999999999999999999', '0x10', '1_000', '1 000',
    '1,5', 'true', 'NULL', 'None', '2001-09-09', '2001-09-09T01:46:40+02:00',
    "'; DROP TABLE events; --", "'", '\\', '\\N', '\t', '\x00', '\x1f', '\x7f',
    '\u2028', '\u202e', '\ufeff', 'é', '😀', '|', '||', 'a|' * 2000, '"', '""',
    '"a', '"a""b"', '"a\nb"', '"a\r\nb"', '%s', '{}', '../../etc', '#', '-',
)  # fmt: skip


def rewrite(log, name, change):
  """Replaces a file by what `change` makes of its bytes."""
  path = log.raw / name
  path.write_bytes(change(path.read_bytes()))


def change_rows(log, rng, change, name=None):
  """Lets `change` work on a file's rows, lists of cells, header first."""
  name = name or rng.choice(FILES)
  text = (log.raw / name).read_text()
  rows = [line.split(',') for line in text.splitlines()]
  change(rows)
  encoded = '\n'.join(','.join(row) for row in rows) + '\n'
  (log.raw / name).write_bytes(encoded.encode('utf-8', 'surrogatepass'))


def one_cell(log, rng):
  def change(rows):
    row = rng.choice(rows[1:])
    column = rng.randrange(len(row))
    row[column] = rng.choice([c for c in _CELLS if c != row[column]])

  change_rows(log, rng, change)


def many_cells(log, rng):
  def change(rows):
    for row in rows[1:]:
      row[rng.randrange(len(row))] = rng.choice(_CELLS)
    rows.append([rng.choice(_CELLS) for _ in rows[0]])

  change_rows(log, rng, change)


def giant_cell(log, rng):
  def change(rows):
    row = rng.choice(rows)
    row[rng.randrange(len(row))] = rng.choice('x9 é') * 1_000_000

  change_rows(log, rng, change)


def one_column(log, rng):
  """Fills a whole column with one value."""
  value = rng.choice(_CELLS)

  def change(rows):
    column = rng.randrange(len(rows[0]))
    for row in rows[1:]:
      row[column] = value

  change_rows(log, rng, change)


def times(log, rng):
  """Moves every time by a factor, as if in another unit, or far away."""
  factor = rng.choice([-1, 0, 1e-3, 1e3, 1e6, 1e300, 0.25])

  def change(rows):
    column = rows[0].index('time')
    for row in rows[1:]:
      row[column] = repr(float(row[column]) * factor)

  change_rows(log, rng, change, 'log.csv')


def numbers(log, rng):
  """Makes numbers large, small, or of a spread that overflows."""
  def change(rows):
    column = rng.choice([1, 3, 4] if len(rows[0]) > 3 else [1, 2])
    for row in rows[1:]:
      row[column] = rng.choice(['1e308', '-1e308', '1e39', '1e-320', '7'])

  change_rows(log, rng, change)


def renamed_column(log, rng):
  def change(rows):
    header, column = rows[0], rng.randrange(len(rows[0]))
    name = header[column]
    header[column] = rng.choice(
        ['', ' ', name.upper(), f' {name}', f'"{name}', f"{name}'", '__row',
         '__file', 'raw.user', 'formula.0', '"a""b"', 'é', 'x' * 70000, '1']
    )

  change_rows(log, rng, change)


def dropped_column(log, rng):
  def change(rows):
    column = rng.randrange(len(rows[0]))
    for row in rows:
      del row[column]

  change_rows(log, rng, change)


def duplicated_column(log, rng):
  folded = rng.random() < 0.5

  def change(rows):
    column = rng.randrange(len(rows[0]))
    for row in rows:
      row.append(row[column])
    if folded:  # SQL ignores case.
      rows[0][-1] = rows[0][-1].upper()

  change_rows(log, rng, change)


def swapped_columns(log, rng):
  def change(rows):
    one, other = rng.sample(range(len(rows[0])), 2)
    header = rows[0]
    header[one], header[other] = header[other], header[one]

  change_rows(log, rng, change)


def repeated_rows(log, rng):
  """Repeats rows, so that keys of a side table are there twice."""
  def change(rows):
    for _ in range(rng.randint(1, 3)):
      rows.append(list(rng.choice(rows)))

  change_rows(log, rng, change)


def other_keys(log, rng):
  """Spells the keys of a side table otherwise."""
  style = rng.choice(['{}.0', ' {}', 'u_{}', '{} '])

  def change(rows):
    for row in rows[1 : 1 + rng.randint(1, len(rows))]:
      row[0] = style.format(row[0])

  change_rows(log, rng, change, rng.choice(FILES[1:]))


def ragged_lines(log, rng):
  def change(rows):
    for row in rng.sample(rows, rng.randint(1, 3)):
      row[rng.randrange(len(row)) :] = ['1'] * rng.choice([0, 1, 9])

  change_rows(log, rng, change)


def quotes(log, rng):
  """Puts a quotation mark where none should be."""
  def change(raw):
    place = rng.randrange(len(raw))
    return raw[:place] + rng.choice([b'"', b'"""', b"'"]) + raw[place:]

  rewrite(log, rng.choice(FILES), change)


def line_ends(log, rng):
  end = rng.choice([b'\r\n', b'\r', b'\n\n', b'\n\r', b',\n', b' \n', b'\x0b'])
  rewrite(log, rng.choice(FILES), lambda raw: raw.replace(b'\n', end))


def encodings(log, rng):
  name = rng.choice(FILES)
  text = (log.raw / name).read_text().replace('o', 'ö').replace('ann', 'änn')
  encoding = rng.choice(['latin-1', 'utf-16', 'utf-16-le', 'utf-8-sig', 'cp037',
                         'utf-32', 'utf-7'])
  (log.raw / name).write_bytes(text.encode(encoding))


def separators(log, rng):
  other = rng.choice([b';', b'\t', b'|', b' ', b'\x00', b',,', b'\xff'])
  rewrite(log, rng.choice(FILES), lambda raw: raw.replace(b',', other))


def replaced_file(log, rng):
  """Leaves next to nothing of a file, or something else in its place."""
  path = log.raw / rng.choice(FILES)
  lines = path.read_bytes().splitlines(keepends=True)
  path.unlink()
  kind = rng.choice(['gone', 'empty', 'header', 'line', 'directory', 'link',
                     'loop', 'zeros', 'newline', 'bom'])
  if kind == 'directory':
    path.mkdir()
  elif kind == 'link':
    path.symlink_to(log.root / 'nowhere')
  elif kind == 'loop':
    path.symlink_to(path)
  elif kind != 'gone':
    path.write_bytes({
        'empty': b'', 'header': lines[0], 'line': lines[0].rstrip(),
        'zeros': b'\x00' * 4096, 'newline': b'\n', 'bom': b'\xef\xbb\xbf',
    }[kind])  # fmt: skip


def more_files(log, rng):
  """Adds a second log file that does not go with the first."""
  lines = (log.raw / 'log.csv').read_bytes().splitlines(keepends=True)
  (log.raw / 'log2.csv').write_bytes(rng.choice([
      b'', lines[0], lines[0] + lines[3], b'a,b\n1,2\n', b'\x00' * 99,
      lines[0].replace(b'rating', b'stars') + b'ann,m8,4,0,1000000009,tv\n',
      b'extra,' + lines[0] + b'1,ann,m8,4,0,1000000009,tv\n',
      lines[0] + b'ann,m8,good,0,1000000009,tv\n',
  ]))


def _spoil_bytes(log, rng, change):
  """Lets `change` work on the bytes of a file of any format."""
  log_formats.to_format(log, rng.choice(_FORMATS))
  path = rng.choice(sorted(path for path in log.raw.iterdir()))
  path.write_bytes(change(path.read_bytes()))


def torn(log, rng):
  _spoil_bytes(log, rng, lambda raw: raw[: rng.randrange(len(raw))])


def flipped_bytes(log, rng):
  def change(raw):
    raw = bytearray(raw)
    for place in rng.sample(range(len(raw)), rng.choice([1, 1, 3, 30])):
      raw[place] ^= rng.randint(1, 255)
    return bytes(raw)

  _spoil_bytes(log, rng, change)


def inserted_bytes(log, rng):
  def change(raw):
    place = rng.randrange(len(raw) + 1)
    size = rng.choice([1, 8, 4096])
    inserted = rng.choice([rng.randbytes(size), b'\x00' * size, b'\xff\xfe'])
    return raw[:place] + inserted + raw[place:]

  _spoil_bytes(log, rng, change)


def other_format(log, rng):
  """Says that the files are of another format than they are."""
  one, other = rng.sample(['csv', 'parquet', 'atomic'], 2)
  log_formats.to_format(log, one)
  log.edit_schema(f'format = "{one}"', f'format = "{other}"')


def odd_parquet(log, rng):
  log_formats.to_format(log, 'parquet')
  path = rng.choice(sorted(log.raw.glob('*.parquet')))
  mutated_parquet.rewrite_columns(path, rng)


def odd_parquet_layout(log, rng):
  log_formats.to_format(log, 'parquet')
  mutated_parquet.rewrite_layout(log.raw / 'log.parquet', rng)


def missing_directory(log, rng):
  shutil.rmtree(log.raw)
  if rng.random() < 0.5:
    log.raw.write_text('a file')


FILE_MUTATIONS = (
    one_cell, many_cells, giant_cell, one_column, times, numbers,
    renamed_column, dropped_column, duplicated_column, swapped_columns,
    repeated_rows, other_keys, ragged_lines, quotes, line_ends, encodings,
    separators, replaced_file, more_files, torn, flipped_bytes, inserted_bytes,
    other_format, odd_parquet, odd_parquet_layout,
    missing_directory,
)  # fmt: skip


def spoil(log, mutation, seed: int):
  """Applies a mutation by a seed, and returns the settings it changes."""
  return mutation(log, random.Random(seed)) or {}
