"""Mutations of a small log's schema and settings, each by a seed."""

import json
import tomllib

_VALUES = (
    '', ' ', 'x', 'csv', 'parquet', 'atomic', 'user', 'movie', 'time', 'rating',
    'log', 'item', 'context', 'entity', 'multi_hot', 'numeric', 'categorical',
    'log1p', 'iso', 'us', 'ms', 'first', 'keep', 'both', "'; DROP TABLE x; --",
    '"', "'", '\\', '\n', '\t', ',', ';', '|', '\x00', '\x1f', 'é', '😀',
    'x' * 5000, '*', '**', '../*', '/etc/*', '[', '.', '..', '/', '__row',
    0, 1, -1, 2**40, 2**63, 10**30, 0.5, -1e308, float('nan'), float('inf'),
    True, False, [], [''], ['*'], ['a', 'a'], [1], [[]], {}, {'a': 1},
    {'key': 'user'}, [{}],
)  # fmt: skip
_EXPRESSIONS = (
    '', ' ', '1/0', '1/0 > 1', 'rating', 'rating >= 4 --', '--', '/*', '/* */',
    'rating >= 4; DROP TABLE events', '1); DROP TABLE events; SELECT (1',
    '(SELECT 1)', '(SELECT max(rating) FROM events)', '(SELECT rating FROM x)',
    '1 IN (SELECT 1)', 'EXISTS (SELECT 1)', 'nope(rating)', 'count(*)', '*',
    'max(rating)', 'row_number() OVER ()', 'lag(rating) OVER (ORDER BY time)',
    'unnest([1, 0])', 'COLUMNS(*)', 'events.rating', 'e.v.e.n.t.s', '"rating"',
    'rating::STRUCT(a INT)', '[rating]', "{'a': rating}", 'NULL', "''", "'x'",
    "rating = 'x'", 'rating || rating', 'CASE WHEN', "'", '"', '(', ')', '$1',
    "error('boom')", "error('two\nlines')", '?', ':name', '@rating', 'a[1]',
    'rating >= 4 AND', 'list_transform([rating], x -> x)', 'DEFAULT',
    "nextval('s')", "read_text('/etc/hostname')", "getenv('HOME')", 'DATE 1',
    "(SELECT content FROM read_text('/etc/hostname'))", "repeat('x', 100000)",
    'rating::INTEGER::TINYINT * 1000', "CAST('x' AS INTEGER)", 'ln(-rating)',
    'rating % 0', 'sqrt(-1)', '2 ** 5000', 'random() >= 0', 'now() IS NULL',
    'rating >= 4 OR TRUE', 'rating BETWEEN 4 AND', 'é', '😀 + 1', 'x' * 5000,
    '(' * 2000 + '1' + ')' * 2000, 'rating\x00', 'rating IS NOT NULL',
    'true', 'false', "INTERVAL '1' DAY", 'rating COLLATE nope', '__row', '1e9',
    '__file', '"raw.user"', '"formula.0"', 'user', 'unknown', 'rating.a',
)  # fmt: skip
_SETTINGS = (
    {'task_entity': ''}, {'task_entity': 'item'}, {'task_entity': 'é\n'},
    {'min_count': 0}, {'min_count': -5}, {'min_count': 10**9},
    {'test_fraction': float('nan')}, {'test_fraction': -0.1},
    {'test_fraction': 1.0}, {'test_fraction': 0.0}, {'test_fraction': 0.999},
    {'new_entity_fraction': 0.999}, {'new_entity_fraction': float('inf')},
    {'new_entity_fraction': 0.5, 'phase': 'validation'}, {'phase': 'x'},
    {'phase': 'validation'}, {'split': ''}, {'split': 'by_time'},
    {'refresh_hours': 24}, {'refresh_hours': -1},
)  # fmt: skip
_TIMES = (
    '', 'noon', '2001-09-09', '2001-09-09T01:46:40', '2001-09-09T01:50:00Z',
    '2001-09-09T01:46:40+00:00', '2001-09-09T02:00:00.5+00:00', '0001-01-01',
    '9999-12-31T23:59:59+00:00', '0001-01-01T00:00:00+14:00', '20010909T0150Z',
    '2001-09-09T01:50:00+23:59', '2100-01-01T00:00:00+00:00',
)  # fmt: skip


def dump(tree: dict) -> str:
  """Returns TOML of plain values, one line for each key of the root."""
  lines = [f'{_text(key)} = {_value(value)}' for key, value in tree.items()]
  return '\n'.join(lines) + '\n'


def _text(value):
  return json.dumps(value, ensure_ascii=False).replace('\x7f', '\\u007f')


def _value(value):
  if isinstance(value, dict):
    pairs = [f'{_text(key)} = {_value(v)}' for key, v in value.items()]
    return '{' + ', '.join(pairs) + '}'
  if isinstance(value, list):
    return '[' + ', '.join(map(_value, value)) + ']'
  if isinstance(value, bool):
    return str(value).lower()
  return _text(value) if isinstance(value, str) else repr(value)


def _places(tree, found=()):
  """Yields (container, key) of every value of a tree."""
  pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
  for key, value in list(pairs):
    yield tree, key
    if isinstance(value, dict | list):
      yield from _places(value, found)


def _change_tree(log, rng, change):
  """Lets `change` work on one place of the schema's tree."""
  tree = tomllib.loads(log.schema.read_text())
  change(*rng.choice(list(_places(tree))))
  log.schema.write_bytes(dump(tree).encode('utf-8'))


def dropped_key(log, rng):
  def change(container, key):
    del container[key]

  _change_tree(log, rng, change)


def other_value(log, rng):
  def change(container, key):
    # Compared as text: True equals 1.
    others = [v for v in _VALUES if repr(v) != repr(container[key])]
    container[key] = rng.choice(others)

  _change_tree(log, rng, change)


def misspelled_key(log, rng):
  def change(container, key):
    value = container[key]
    if isinstance(key, str):
      container[rng.choice([key[:-1], key + 's', key.upper(), '', 'path', 'é',
                            'a.b', 'a"b', 'x\ny'])] = container.pop(key)
    elif isinstance(value, str):
      container[key] = value[1:] + value[:1] + 'x'
    else:
      container.append(value)

  _change_tree(log, rng, change)


def added_feature(log, rng):
  """Adds a feature of random, and mostly contradictory, settings."""
  tree = tomllib.loads(log.schema.read_text())
  feature = {
      'name': rng.choice(['extra', 'user', 'movie', 'AGE', '', 'a"b', 'é\n']),
      'owner': rng.choice(['entity', 'item', 'context']),
      'kind': rng.choice(['categorical', 'numeric', 'multi_hot']),
      'role': rng.choice(['meta', 'global', 'both']),
      'column': rng.choice(
          ['time', 'user', 'movie', 'device', 'city', 'age', 'genres', 'length',
           'id', 'rating', 'nope', '__row', '']
      ),
  }
  options = {
      'source': 'log', 'separator': rng.choice(['', '|', '\x00', "'", 'é']),
      'max_values': rng.choice([-1, 1, 2, 5000]), 'transform': 'log1p',
      'fill': rng.choice([-1, -2, 0, 1e308, float('nan'), float('inf')]),
      'entity': rng.choice(['user', 'nobody']),
  }  # fmt: skip
  for key in rng.sample(sorted(options), rng.randint(0, 3)):
    feature[key] = options[key]
  tree['features'].append(feature)
  log.schema.write_text(dump(tree))


def label(log, rng):
  _set_expression(log, rng.choice(_EXPRESSIONS))


def expression(log, rng):
  """Adds a feature that an odd expression gives."""
  tree = tomllib.loads(log.schema.read_text())
  tree['features'].append({
      'name': 'extra', 'owner': rng.choice(['item', 'entity', 'context']),
      'kind': rng.choice(['numeric', 'categorical']), 'role': 'global',
      'expression': rng.choice(_EXPRESSIONS).replace('rating', 'length'),
  })  # fmt: skip
  log.schema.write_text(dump(tree))


def _set_expression(log, text):
  tree = tomllib.loads(log.schema.read_text())
  tree['interactions']['label'] = text
  log.schema.write_text(dump(tree))


def torn_schema(log, rng):
  raw = log.schema.read_bytes()
  log.schema.write_bytes(raw[: rng.randrange(len(raw))])


def spoiled_schema(log, rng):
  """Flips, inserts or recodes bytes of the schema."""
  raw = bytearray(log.schema.read_bytes())
  place = rng.randrange(len(raw))
  kind = rng.choice(['flip', 'insert', 'latin-1', 'utf-16', 'bom', 'ends'])
  if kind == 'flip':
    raw[place] ^= rng.randint(1, 255)
  elif kind == 'insert':
    raw[place:place] = rng.choice(
        [b'\x00', b'\xff', b'"', b'[', b']]', b'=', b'\n', b'#', b"'''", b'\r']
    )
  elif kind == 'bom':
    raw[:0] = b'\xef\xbb\xbf'
  elif kind == 'ends':
    raw = raw.replace(b'\n', rng.choice([b'\r\n', b'\r', b'\n\n', b'']))
  else:
    raw = raw.decode().replace('small', 'smäll').encode(kind)
  log.schema.write_bytes(bytes(raw))


def missing_schema(log, rng):
  log.schema.unlink()
  kind = rng.choice(['gone', 'empty', 'directory', 'link'])
  if kind == 'empty':
    log.schema.write_text('')
  elif kind == 'directory':
    log.schema.mkdir()
  elif kind == 'link':
    log.schema.symlink_to(log.schema)


def settings(log, rng):
  del log
  return dict(rng.choice(_SETTINGS))


def times_of_protocol(log, rng):
  """Splits by times that are mostly none, or leave nothing."""
  del log
  names = ('validation_start', 'train_end', 'test_end')
  return {name: rng.choice(_TIMES) for name in names} | {
      'split': 'by_time',
      'phase': rng.choice(['test', 'validation']),
      'refresh_hours': rng.choice([0, 9000, 10**6]),
  }


MUTATIONS = (
    dropped_key, other_value, misspelled_key, added_feature, label, expression,
    torn_schema, spoiled_schema, missing_schema, settings, times_of_protocol,
)  # fmt: skip
