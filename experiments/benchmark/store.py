r"""Times a feature store: bulk load, publication, and batched lookups.

    python -m experiments.benchmark store --entities=1000000 \
        --stores=lmdb,redis://127.0.0.1:6379/0

prints a JSON line for each store. `load_s` is from arrays to a finished
snapshot, `publish_s` verifies and publishes it. Lookups of --keys random
entities, one in sixteen unknown, take turns with gets of others by the raw
client of the database, as one writes them by hand, which decode nothing:
`ratio` is of the medians.
Redis is given by its address, as `redis-server --port=... --save ''` starts it.
"""

from collections.abc import Callable
import json
import pathlib
import statistics
import tempfile
import time

from absl import flags
import lmdb
import numpy as np

from experiments import progress
from limaml_jax.store import address
from limaml_jax.store import backend as backend_lib
from limaml_jax.store import lookup
from limaml_jax.store import record
from limaml_jax.store import snapshot
from limaml_jax.store import vector_dtypes

_STORES = flags.DEFINE_list(
    'stores', ['lmdb'], 'lmdb, or addresses of Redis, separated by commas.'
)
_ENTITIES = flags.DEFINE_integer(
    'entities', 1_000_000, 'Entities in a snapshot.', lower_bound=1
)
_VECTOR = flags.DEFINE_integer('vector', 64, 'E of a vector.', lower_bound=1)
_VECTOR_DTYPE = flags.DEFINE_enum(
    'vector_dtype', 'float16', vector_dtypes.DTYPES, 'That they are stored in.'
)
_KEYS = flags.DEFINE_integer('keys', 256, 'Keys of a lookup.', lower_bound=1)
_LOOKUPS = flags.DEFINE_integer(
    'lookups', 2000, 'Timed lookups.', lower_bound=1
)

_TYPE = 'benchmark'
_CHUNK = 65536
_UNKNOWN_EVERY = 16
_TURNS = 20

# Keys -> raw records.
_RawGet = Callable[[list[str]], object]


def main() -> None:
  """Times each store, and prints a line for it."""
  for name in _STORES.value:
    with tempfile.TemporaryDirectory() as directory:
      where = directory if name == 'lmdb' else name
      store = address.open_backend(where)
      try:
        print(json.dumps({'store': name.split(':')[0], **_time(store)}))
      finally:
        _delete(store)


def _time(store: backend_lib.Backend) -> dict[str, object]:
  keys = [f'entity-{n:09d}' for n in range(_ENTITIES.value)]
  start = time.perf_counter()
  with progress.bar('load') as update:
    manifest = snapshot.write(
        store,
        _TYPE,
        _chunks(keys, update),
        default_embedding=np.zeros(_VECTOR.value),
        fingerprint='benchmark',
        cutoff=1,
        created=1,
        dtype=_VECTOR_DTYPE.value,
    )
  loaded = time.perf_counter()
  snapshot.publish(store, _TYPE, manifest.version)
  published = time.perf_counter()
  raw_get = _raw_get(store, manifest)
  with progress.bar('look up') as update, lookup.Reader(store, _TYPE) as reader:
    ours, raw = _take_turns(reader, raw_get, keys, update)
  return {
      'entities': manifest.count,
      'dimension': manifest.dimension,
      'dtype': manifest.dtype,
      'load_s': round(loaded - start, 2),
      'publish_s': round(published - loaded, 2),
      'keys': _KEYS.value,
      **_quantiles('lookup', ours),
      **_quantiles('raw', raw),
      'ratio': round(statistics.median(ours) / statistics.median(raw), 2),
  }


def _chunks(keys, update):
  """Yields random vectors, one chunk of keys after another."""
  rng = np.random.default_rng(0)
  for start in range(0, len(keys), _CHUNK):
    part = keys[start : start + _CHUNK]
    vectors = rng.normal(size=(len(part), _VECTOR.value)).astype(np.float32)
    yield record.Chunk(part, vectors, np.ones(len(part), np.int64))
    update(start + len(part), len(keys))


def _take_turns(reader, raw_get, keys, update):
  """Returns the seconds of each lookup, and of each raw get."""
  rng = np.random.default_rng(1)
  ours, raw = [], []
  size = -(-_LOOKUPS.value // _TURNS)
  for turn in range(_TURNS):
    # Keys of its own for each: the second would find them in caches.
    for run, seconds in ((reader.lookup, ours), (raw_get, raw)):
      batches = [_draw(rng, keys) for _ in range(size)]
      seconds += [_seconds(run, batch) for batch in batches]
    update(turn + 1, _TURNS)
  return ours, raw


def _draw(rng, keys):
  drawn = [keys[n] for n in rng.integers(len(keys), size=_KEYS.value)]
  return [
      key if n % _UNKNOWN_EVERY else f'unknown-{key}'
      for n, key in enumerate(drawn)
  ]


def _seconds(run, batch) -> float:
  start = time.perf_counter()
  run(batch)
  return time.perf_counter() - start


def _raw_get(store: backend_lib.Backend, manifest) -> _RawGet:
  """Returns the shortest way to the same records, without this library."""
  path = pathlib.Path(store.address) / _TYPE / 'snapshots' / manifest.version
  if path.is_dir():
    database = _raw_copy(store, manifest)

    def get(keys):
      with database.begin() as transaction:
        return [transaction.get(key.encode()) for key in keys]

    return get
  import redis  # An extra.

  client = redis.Redis.from_url(store.address)
  name = f'limaml:{{{_TYPE}}}:records:{manifest.version}'
  return lambda keys: client.hmget(name, keys)


def _raw_copy(store: backend_lib.Backend, manifest) -> lmdb.Environment:
  """Returns a copy of a snapshot, for LMDB opens a file once in a process.

  It is put in record by record: the system keeps a file that was copied in one
  go in larger pages, which are read faster.
  """
  path = tempfile.mkdtemp(dir=store.address)
  options = {'lock': False, 'readahead': False}
  size = record.layout(manifest.dimension, manifest.dtype).itemsize
  with (
      lmdb.open(path, map_size=1 << 36, sync=False, **options) as database,
      store.open_snapshot(_TYPE, manifest.version) as opened,
  ):
    for keys, joined in opened.scan():
      with database.begin(write=True) as transaction:
        for n, key in enumerate(keys):
          row = joined[n * size : (n + 1) * size]
          transaction.put(key, row, append=True)
  return lmdb.open(path, readonly=True, **options)


def _quantiles(name: str, seconds: list[float]) -> dict[str, float]:
  p50, p99 = np.percentile(seconds, [50, 99]) * 1e6
  return {f'{name}_p50_us': round(p50, 1), f'{name}_p99_us': round(p99, 1)}


def _delete(store: backend_lib.Backend) -> None:
  """Leaves no snapshot of this benchmark but the published one."""
  for version in store.versions(_TYPE):
    if version != store.current(_TYPE):
      store.delete(_TYPE, version)
