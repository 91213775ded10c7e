r"""Generates a log of any size with its schema, to try the library at scale.

    python -m experiments.generate_log --output=DIR --rows=10000000 \
        --entities=1000000

writes DIR/log-*.parquet, DIR/users.parquet, DIR/items.parquet and
DIR/schema.toml: twelve features beside the two keys. Users differ in activity
and in taste, so that there is something to personalize. The same seed and sizes
give the same files.
"""

import pathlib
import shutil

from absl import flags
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from experiments import binary
from experiments import progress

flags.adopt_module_key_flags(binary)

_OUTPUT = flags.DEFINE_string('output', None, 'Directory.', required=True)
_ROWS = flags.DEFINE_integer('rows', 1_000_000, 'Events.', lower_bound=1)
_ENTITIES = flags.DEFINE_integer('entities', 100_000, 'Users.', lower_bound=1)
_ITEMS = flags.DEFINE_integer('items', 20_000, 'Items.', lower_bound=1)
_DAYS = flags.DEFINE_integer('days', 14, 'Length of the log.', lower_bound=1)
_SEED = flags.DEFINE_integer('seed', 0, 'Of everything random.')

_SCHEMA = pathlib.Path(__file__).parent / 'schemas' / 'generated.toml'
_ROWS_PER_FILE = 1_000_000
_START = 1_700_000_000_000  # Milliseconds since 1970 UTC, 2023-11-14.
_DAY = 86_400_000
_COUNTRIES = np.array(['BR', 'DE', 'FR', 'IN', 'JP', 'NG', 'PE', 'US'])
_PLANS = np.array(['free', 'plus', 'pro'])
_DEVICES = np.array(['android', 'ios', 'web', 'tv'])
_SURFACES = np.array(['home', 'search', 'related', 'mail'])
_TAGS = np.array([f'tag{n}' for n in range(40)])


def main() -> None:
  """Writes the files."""
  output = pathlib.Path(_OUTPUT.value)
  output.mkdir(parents=True, exist_ok=True)
  shutil.copyfile(_SCHEMA, output / 'schema.toml')
  users = _write_users(output / 'users.parquet')
  items = _write_items(output / 'items.parquet')
  starts = range(0, _ROWS.value, _ROWS_PER_FILE)
  with progress.bar('generate') as update:
    for number, start in enumerate(starts):
      size = min(_ROWS_PER_FILE, _ROWS.value - start)
      path = output / f'log-{number:05d}.parquet'
      pq.write_table(_events(number, size, users, items), path)
      update(number + 1, len(starts))
  print(
      f'{output}: {_ROWS.value:,} events of {_ENTITIES.value:,} users and '
      f'{_ITEMS.value:,} items, with schema.toml'
  )


def _rng(*stream: int) -> np.random.Generator:
  return np.random.default_rng([_SEED.value, *stream])


def _write_users(path: pathlib.Path) -> np.ndarray:
  """Writes the users, and returns the taste of each, [users]."""
  rng, number = _rng(1), _ENTITIES.value
  columns = {
      'user': _keys('u', np.arange(number)),
      'country': _pick(rng, _COUNTRIES, number),
      'plan': _pick(rng, _PLANS, number),
      'age': pa.array(rng.integers(18, 80, number, np.int32)),
  }
  pq.write_table(pa.table(columns), path)
  return rng.normal(size=number).astype(np.float32)


def _write_items(path: pathlib.Path) -> np.ndarray:
  """Writes the items, and returns the appeal of each, [items]."""
  rng, number = _rng(2), _ITEMS.value
  tags = rng.integers(0, _TAGS.size, (number, 3))
  columns = {
      'item': _keys('i', np.arange(number)),
      'category': _keys('c', rng.integers(0, 50, number)),
      'brand': _keys('b', rng.zipf(1.5, number) % 1000),
      'price': pa.array(np.exp(rng.normal(2, 1, number))),
      'tags': pa.array([' '.join(row) for row in _TAGS[tags]]),
  }
  pq.write_table(pa.table(columns), path)
  return rng.normal(size=number).astype(np.float32)


def _events(
    number: int, size: int, users: np.ndarray, items: np.ndarray
) -> pa.Table:
  """Returns the events of one file: few users and items have most of them."""
  rng = _rng(3, number)
  user = (users.size * rng.random(size) ** 2).astype(np.int64)
  item = (items.size * rng.random(size) ** 3).astype(np.int64)
  position = rng.integers(0, 20, size, np.int32)
  logit = users[user] + 0.7 * items[item] - 0.1 * position
  clicked = rng.random(size) < 1 / (1 + np.exp(-logit))
  return pa.table({
      'user': _keys('u', user),
      'item': _keys('i', item),
      'time': pa.array(
          _START + rng.integers(0, _DAYS.value * _DAY, size, np.int64)
      ),
      'clicked': pa.array(clicked.astype(np.int8)),
      'device': _pick(rng, _DEVICES, size),
      'surface': _pick(rng, _SURFACES, size),
      'position': pa.array(position),
      'hour': pa.array(rng.integers(0, 24, size, np.int32)),
      'session': pa.array(rng.exponential(10, size).astype(np.float32)),
      'dwell': pa.array(np.where(clicked, rng.exponential(30, size), 0.0)),
  })


def _keys(prefix: str, numbers: np.ndarray) -> pa.Array:
  """Returns texts such as u000042."""
  return pa.array(np.char.add(prefix, np.char.zfill(numbers.astype('U8'), 7)))


def _pick(rng: np.random.Generator, words: np.ndarray, size: int) -> pa.Array:
  codes = pa.array(rng.integers(0, words.size, size, np.int32))
  return pa.DictionaryArray.from_arrays(codes, words.tolist()).cast(pa.string())


if __name__ == '__main__':
  binary.run(main)
