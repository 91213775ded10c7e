import contextlib
import importlib.util
import itertools
import os
import pathlib
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import unittest
from unittest import mock
import warnings

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax import errors
from limaml_jax.store import lookup
from limaml_jax.store import snapshot
from limaml_jax.store.lmdb_store import backend
from tests.store import conformance

_REPOSITORY = pathlib.Path(__file__).parents[2]
_HAS_FEAST = importlib.util.find_spec('feast') is not None
_NO_FEAST = "feast is not installed; pip install '.[feast]'"
if _HAS_FEAST:
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    import feast
    from feast.value_type import ValueType

    from limaml_jax.store.feast_store import lookup as feast_lookup
    from limaml_jax.store.feast_store import materialize
    from limaml_jax.store.feast_store import online
    from limaml_jax.store.feast_store import repo

PRESENT, STALE, MISSING, VERSION_MISMATCH, _ = lookup.Status
_FEATURES = [
    f'user_meta_embedding:{name}'
    for name in ('meta_embedding', 'model_fingerprint', 'snapshot_version')
]
_SETTINGS = {
    'default_embedding': np.array([0.5, 0.25]),
    'fingerprint': 'model',
    'cutoff': 200,
    'created': 300,
}


def write_repo(folder, online_store=('type: sqlite', 'path: online.db')):
  """Writes feature_store.yaml as users do."""
  lines = [
      'project: limaml',
      'provider: local',
      'registry: registry.db',
      'entity_key_serialization_version: 3',
      'online_store:',
      *(f'  {line}' for line in online_store),
  ]
  path = pathlib.Path(folder) / 'feature_store.yaml'
  path.write_text('\n'.join(lines) + '\n')


@unittest.skipUnless(_HAS_FEAST, _NO_FEAST)
class FeastTest(parameterized.TestCase):
  """Gives each test a store, and a repo to which the view was applied."""

  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path
    self.write_repo()
    self.feast = repo.open_repo(self.folder)
    self.feast.apply(list(repo.definitions('user', 2)))
    self.store = backend.LmdbBackend(self.create_tempdir().full_path)

  def write_repo(self):
    write_repo(self.folder)

  def publish(self, rows, **changes):
    """Publishes a snapshot of {key: (watermark, vector)}."""
    manifest = snapshot.write_arrays(
        self.store,
        'user',
        keys=list(rows),
        vectors=np.array([vector for _, vector in rows.values()]),
        watermarks=np.array([watermark for watermark, _ in rows.values()]),
        **{**_SETTINGS, **changes},
    )
    snapshot.publish(self.store, 'user', manifest.version)
    return manifest

  def materialize(self, **settings):
    return materialize.materialize(self.store, 'user', self.feast, **settings)

  def features(self, *keys):
    """Asks Feast as anyone does; returns vector, event time, model, version."""
    answer = self.feast.get_online_features(
        features=_FEATURES, entity_rows=[{'user_id': key} for key in keys]
    ).to_dict(include_event_timestamps=True)
    names = (
        'meta_embedding', 'meta_embedding__ts', 'model_fingerprint',
        'snapshot_version',
    )  # fmt: skip
    return list(zip(*(answer[name] for name in names), strict=True))

  def lookup(self, *keys, **settings):
    return feast_lookup.lookup(self.feast, 'user', list(keys), **settings)

  def assert_counts(self, done, *, written=0, unchanged=0, cleared=0):
    self.assertEqual(
        (done.num_written, done.num_unchanged, done.num_cleared),
        (written, unchanged, cleared),
    )

  @contextlib.contextmanager
  def written_rows(self):
    """Yields the list of keys whose rows are written meanwhile."""
    keys = []
    write = self.feast.provider.online_write_batch

    def spy(config, view, data, progress):
      keys.extend(row[0].entity_values[0].string_val for row in data)
      write(config, view, data, progress)

    with mock.patch.object(self.feast.provider, 'online_write_batch', spy):
      yield keys


class MaterializeTest(FeastTest):

  def test_feast_answers_with_vector_and_event_time(self):
    bits = np.array([0x80000000, 1, 0x7F7FFFFF, 0x3DCCCCCD], np.uint32)
    vectors = bits.view(np.float32).reshape(2, 2)
    self.publish({'a': (7, vectors[0]), 'b': (0, vectors[1])})
    self.materialize()
    a, b, nobody = self.features('a', 'b', 'nobody')
    np.testing.assert_array_equal(
        np.float32([a[0], b[0]]).view(np.uint32).ravel(), bits
    )
    self.assertEqual(a[1:], (7, 'model', '00000001'))
    self.assertEqual(b[1:], (0, 'model', '00000001'))
    self.assertEqual(nobody, (None, 0, None, None))

  def test_created_is_when_the_snapshot_was(self):
    self.publish({'a': (7, [1, 2])})
    self.materialize()
    with sqlite3.connect(f'{self.folder}/online.db') as database:
      found = set(
          database.execute(
              'SELECT event_ts, created_ts FROM limaml_user_meta_embedding'
          )
      )
    # The watermark and, of the marker, the cutoff; as Feast's SQLite has it.
    self.assertEqual(found, {(7, 300), (200, 300)})

  def test_entity_without_events_has_the_cutoff(self):
    self.publish({'a': (-1, [1, 2])})
    self.materialize()
    self.assertEqual(self.features('a')[0][1], 200)

  def test_cutoff_of_an_entity_without_events_moves_on(self):
    self.publish({'a': (-1, [1, 2]), 'b': (7, [3, 4])})
    self.materialize()
    self.publish({'a': (-1, [1, 2]), 'b': (7, [3, 4])}, cutoff=250)
    self.assert_counts(self.materialize(), written=1, unchanged=1)
    self.assertEqual(self.features('a')[0][1], 250)

  def test_publish_and_rollback(self):
    self.publish({'a': (7, [1, 2]), 'b': (8, [3, 4])})
    self.materialize()
    before = self.features('a', 'b')
    self.publish({'a': (9, [5, 6]), 'b': (8, [7, 8])})
    self.assertEqual(self.materialize().version, '00000002')
    self.assertEqual(
        self.features('a', 'b'),
        [([5, 6], 9, 'model', '00000002'), ([7, 8], 8, 'model', '00000002')],
    )
    snapshot.rollback(self.store, 'user')
    self.assertEqual(self.materialize().version, '00000001')
    self.assertEqual(self.features('a', 'b'), before)

  def test_only_changes_are_written(self):
    self.publish({'a': (7, [1, 2]), 'b': (8, [3, 4]), 'c': (9, [5, 6])})
    self.assert_counts(self.materialize(), written=3)
    # The vector of a, and the watermark of c, change.
    self.publish({'a': (7, [1, 9]), 'b': (8, [3, 4]), 'c': (10, [5, 6])})
    with self.written_rows() as keys:
      self.assert_counts(self.materialize(), written=2, unchanged=1)
    self.assertEqual(keys, ['', 'a', 'c', ''])
    versions = [row[3] for row in self.features('a', 'b', 'c')]
    self.assertEqual(versions, ['00000002', '00000001', '00000002'])

  def test_again_writes_nothing(self):
    self.publish({'a': (7, [1, 2])})
    self.materialize()
    with self.written_rows() as keys:
      self.assert_counts(self.materialize(), unchanged=1)
    self.assertEmpty(keys)

  def test_full_writes_all(self):
    self.publish({'a': (7, [1, 2])})
    self.materialize()
    self.assert_counts(self.materialize(full=True), written=1)
    self.assert_counts(self.materialize(), unchanged=1)

  def test_other_model_is_written_anew(self):
    rows = {'a': (7, [1, 2])}
    self.publish(rows)
    self.materialize()
    self.publish(rows, fingerprint='other')
    self.assert_counts(self.materialize(), written=1)
    self.assertEqual(self.features('a')[0][2], 'other')

  def test_entity_that_is_gone(self):
    self.publish({'a': (7, [1, 2]), 'b': (8, [3, 4])})
    self.materialize()
    self.publish({'a': (7, [1, 2])})
    self.assert_counts(self.materialize(), unchanged=1, cleared=1)
    self.assertEqual(self.features('b'), [(None, 200, None, None)])
    np.testing.assert_array_equal(
        self.lookup('b', 'a').statuses, [MISSING, PRESENT]
    )
    # And comes back.
    self.publish({'b': (8, [3, 4])})
    self.assert_counts(self.materialize(), written=1, cleared=1)
    self.assertEqual(self.features('b')[0][0], [3, 4])

  def test_pruned_version_is_compared_with_nothing(self):
    self.publish({'a': (7, [1, 2]), 'b': (8, [3, 4])})
    self.materialize()
    self.publish({'a': (7, [1, 2])})
    self.store.delete('user', '00000001')
    done = self.materialize()
    self.assert_counts(done, written=1)
    self.assertEqual(done.unknown_versions, ('00000001',))
    self.assert_counts(self.materialize(), unchanged=1)

  def test_namesake_of_another_store_is_compared_with_nothing(self):
    self.publish({'a': (7, [1, 2])})
    self.materialize()
    self.store = backend.LmdbBackend(self.create_tempdir().full_path)
    self.publish({'a': (7, [1, 2]), 'b': (8, [3, 4])}, created=301)
    self.assert_counts(self.materialize(), written=2)

  @parameterized.parameters('float16', 'bfloat16', 'int8')
  def test_smaller_types_are_decoded(self, dtype):
    self.publish({'a': (7, [1, 2]), 'b': (7, [-4, 2])}, dtype=dtype)
    self.materialize()
    with lookup.Reader(self.store, 'user') as reader:
      expected = reader.lookup(['b', 'a']).vectors
    vectors = [row[0] for row in self.features('b', 'a')]
    np.testing.assert_array_equal(vectors, expected)

  def test_batches_and_progress(self):
    self.publish({f'{i}': (i, [i, 0]) for i in range(5)})
    calls = []
    with self.written_rows() as keys:
      done = self.materialize(
          batch_size=2,
          on_progress=lambda *call: calls.append((*call, len(keys))),
      )
    self.assert_counts(done, written=5)
    # The marker is a row, too, first and last.
    self.assertEqual(calls, [(2, 5, 3), (4, 5, 5), (5, 5, 7)])
    vectors = [row[0] for row in self.features('0', '3', '4')]
    self.assertEqual(vectors, [[0, 0], [3, 0], [4, 0]])


class KilledTest(FeastTest):
  """A run is killed once a batch of two entities was written."""

  FIRST = {f'{i}': (i, [i, 1]) for i in range(6)}
  SECOND = {f'{i}': (i, [i, 2]) for i in range(1, 7)}

  def kill(self):
    # As a signal: nothing is tidied up after it.
    def die(done, total):
      del done, total
      raise KeyboardInterrupt

    with self.assertRaises(KeyboardInterrupt):
      self.materialize(batch_size=2, on_progress=die)

  def assert_feast_holds(self, rows, version):
    found = self.features(*map(str, range(7)))
    for i, (vector, event_time, _, _) in enumerate(found):
      if f'{i}' in rows:
        self.assertEqual((event_time, vector), rows[f'{i}'], msg=i)
      else:
        self.assertIsNone(vector, msg=i)
    self.assertEqual(self.lookup().version, version)

  def dying_at(self, number):
    """Dies within that write, of which half the rows arrive."""
    write = self.feast.provider.online_write_batch
    calls = []

    def die(config, view, data, progress):
      calls.append(None)
      if len(calls) - 1 == number:
        write(config, view, data[: len(data) // 2], progress)
        raise KeyboardInterrupt
      write(config, view, data, progress)

    return mock.patch.object(self.feast.provider, 'online_write_batch', die)

  @parameterized.parameters(1, 3)
  def test_at_each_write_of_two_runs(self, last):
    contents = {1: self.FIRST, 2: self.SECOND, 3: {'5': (5, [5, 1])}}
    for rows in contents.values():
      self.publish(rows)
    # Writes of a run: the marker, two batches, the marker.
    for deaths in itertools.product(range(5), repeat=2):
      with sqlite3.connect(f'{self.folder}/online.db') as database:
        database.execute('DELETE FROM limaml_user_meta_embedding')
      for version, number in enumerate(deaths, start=1):
        self.store.publish('user', f'0000000{version}')
        with self.dying_at(number), contextlib.suppress(KeyboardInterrupt):
          self.materialize(batch_size=4)
      self.store.publish('user', f'0000000{last}')
      self.materialize(batch_size=4)
      self.assert_feast_holds(contents[last], f'0000000{last}')

  def test_first_run(self):
    self.publish(self.FIRST)
    self.kill()
    self.assertLen([r for r in self.features(*self.FIRST) if r[0]], 2)
    self.assertEqual(self.lookup().version, '00000001')
    self.assert_counts(self.materialize(), written=6)

  def test_run_again(self):
    self.publish(self.FIRST)
    self.materialize()
    self.publish(self.SECOND)
    self.kill()
    versions = {row[3] for row in self.features(*map(str, range(6)))}
    self.assertEqual(versions, {None, '00000001', '00000002'})
    self.assertEqual(self.lookup().version, '00000001')
    self.assert_counts(self.materialize(), written=6, cleared=1)
    self.assert_feast_holds(self.SECOND, '00000002')
    self.assert_counts(self.materialize(), unchanged=6)

  def test_rolled_back_instead(self):
    self.publish(self.FIRST)
    self.materialize()
    self.publish(self.SECOND)
    self.kill()
    snapshot.rollback(self.store, 'user')
    self.materialize()
    self.assert_feast_holds(self.FIRST, '00000001')

  def test_third_snapshot_instead(self):
    # Killed in the first run: only its marker tells whose rows may lie there.
    self.publish(self.FIRST)
    self.kill()
    self.publish(self.SECOND)
    self.kill()
    third = {'5': (5, [5, 1]), '6': (6, [6, 3])}
    self.publish(third)
    self.materialize()
    self.assert_feast_holds(third, '00000003')

  def test_full_run(self):
    self.publish(self.FIRST)
    self.materialize()
    with mock.patch.object(online, 'write', side_effect=self._write_marker()):
      with self.assertRaises(KeyboardInterrupt):
        self.materialize(full=True)
    self.assert_counts(self.materialize(), written=6)

  def _write_marker(self):
    write = online.write

    def write_marker(feature_store, view, rows, *, created):
      if rows[0].key:
        raise KeyboardInterrupt
      write(feature_store, view, rows, created=created)

    return write_marker


class StatusTest(FeastTest):

  def test_nothing_materialized(self):
    with self.assertRaisesRegex(
        errors.InputError, 'nothing.*experiments.feast_materialize'
    ):
      self.lookup('a')

  def test_model_of_each_row_counts(self):
    self.publish({'a': (7, [1, 2]), 'b': (8, [3, 4])})
    self.materialize()
    self.publish({'a': (7, [5, 6]), 'b': (8, [7, 8])}, fingerprint='other')

    def die(done, total):
      del done, total
      raise KeyboardInterrupt

    with self.assertRaises(KeyboardInterrupt):
      self.materialize(batch_size=1, on_progress=die)
    answers = {
        model: self.lookup('a', 'b', 'nobody', fingerprint=model, now=10)
        for model in ('model', 'other')
    }
    np.testing.assert_array_equal(
        answers['model'].statuses, [VERSION_MISMATCH, PRESENT, MISSING]
    )
    np.testing.assert_array_equal(
        answers['model'].vectors, [[0.5, 0.25], [3, 4], [0.5, 0.25]]
    )
    np.testing.assert_array_equal(answers['model'].ages, [-1, 2, -1])
    np.testing.assert_array_equal(
        answers['other'].statuses, [PRESENT, VERSION_MISMATCH, VERSION_MISMATCH]
    )

  def test_feast_serves_what_its_ttl_forbids(self):
    # The reason why `lookup` has a limit of its own.
    self.feast.apply(list(repo.definitions('user', 2, ttl_seconds=60)))
    self.publish({'a': (7, [1, 2])})
    self.materialize()
    self.assertEqual(self.features('a')[0][0], [1, 2])
    answer = self.lookup('a', max_age_seconds=60)
    np.testing.assert_array_equal(answer.statuses, [STALE])
    np.testing.assert_array_equal(answer.vectors, [[1, 2]])

  def test_rows_of_another_dimension_are_another_models(self):
    self.publish({'a': (7, [1, 2])})
    self.materialize()
    view = self.feast.get_feature_view('user_meta_embedding')
    row = online.Row('a', [1.0, 2.0, 3.0], 'model', '00000001', 7)
    online.write(self.feast, view, [row], created=300)
    answer = self.lookup('a')
    np.testing.assert_array_equal(answer.statuses, [VERSION_MISMATCH])
    np.testing.assert_array_equal(answer.vectors, [[0.5, 0.25]])


class MaterializingReader:
  """Reads through Feast, always the snapshot that is published."""

  def __init__(self, store, feature_store, **settings):
    self._store = store
    self._feast = feature_store
    self._settings = settings

  def lookup(self, keys, *, now=None):
    materialize.materialize(self._store, 'user', self._feast)
    return feast_lookup.lookup(
        self._feast, 'user', keys, now=now, **self._settings
    )

  def close(self):
    pass


@unittest.skipUnless(_HAS_FEAST, _NO_FEAST)
class FeastLookupTest(conformance.LookupConformance):

  def make_store(self):
    folder = self.create_tempdir().full_path
    write_repo(folder)
    self.feast = repo.open_repo(folder)
    self.feast.apply(list(repo.definitions('user', 2)))
    return backend.LmdbBackend(self.create_tempdir().full_path)

  def reader(self, **settings):
    return MaterializingReader(self.store, self.feast, **settings)

  def test_unpublished_version_stays_unseen(self):
    self.feast.apply(list(repo.definitions('user', 8)))  # As `stamped` has it.
    super().test_unpublished_version_stays_unseen()

  # There is no reader to be closed or shared.
  test_closed_reader_refuses = None
  test_threads_share_a_reader = None


class RefusedTest(FeastTest):

  def setUp(self):
    super().setUp()
    self.publish({'a': (7, [1, 2])})

  def test_view_was_not_applied(self):
    write_repo(self.folder, ('type: sqlite', 'path: other.db'))
    os.remove(f'{self.folder}/registry.db')
    self.feast = repo.open_repo(self.folder)
    with self.assertRaisesRegex(
        errors.InputError,
        "no feature view 'user_meta_embedding'.*dimension=2.*feast apply",
    ):
      self.materialize()

  def test_view_of_another_dimension(self):
    self.feast.apply(list(repo.definitions('user', 3)))
    with self.assertRaisesRegex(
        errors.InputError, 'of dimension 3, the snapshot of 2; put'
    ):
      self.materialize()

  def test_view_of_other_features(self):
    entity, _ = repo.definitions('user', 2)
    view = feast.FeatureView(
        name='user_meta_embedding',
        entities=[entity],
        schema=[feast.Field(name='meta_embedding', dtype=feast.types.Int64)],
    )
    self.feast.apply([entity, view])
    with self.assertRaisesRegex(errors.InputError, 'has other features'):
      self.materialize()

  def test_join_key_that_is_no_text(self):
    entity = feast.Entity(
        name='member', join_keys=['member_id'], value_type=ValueType.INT64
    )
    with self.assertRaisesRegex(errors.InputError, "'member_id'.*INT64; give"):
      repo.definitions('user', 2, entity=entity)
    _, view = repo.definitions('user', 2)
    view = feast.FeatureView(
        name=view.name, entities=[entity], schema=view.features
    )
    self.feast.apply([entity, view])
    with self.assertRaisesRegex(errors.InputError, 'not one join key of type'):
      self.materialize()

  def test_entity_of_the_repo(self):
    entity = feast.Entity(
        name='member', join_keys=['member_id'], value_type=ValueType.STRING
    )
    self.feast.apply(list(repo.definitions('user', 2, entity=entity)))
    self.materialize()
    answer = self.feast.get_online_features(
        features=_FEATURES[:1], entity_rows=[{'member_id': 'a'}]
    ).to_dict()
    self.assertEqual(answer['meta_embedding'], [[1, 2]])
    np.testing.assert_array_equal(self.lookup('a').vectors, [[1, 2]])

  def test_nothing_published(self):
    with self.assertRaisesRegex(errors.InputError, 'no snapshot is published'):
      materialize.materialize(self.store, 'item', self.feast)

  def test_online_store_fails(self):
    with sqlite3.connect(f'{self.folder}/online.db') as database:
      database.execute('DROP TABLE limaml_user_meta_embedding')
    with self.assertRaisesRegex(
        errors.InputError, r'\(sqlite\) failed .*no such table.*feast apply'
    ):
      self.materialize()

  def test_online_store_that_keeps_the_older_row(self):
    write = self.feast.provider.online_write_batch
    seen = set()

    def keep_older(config, view, data, progress):
      fresh = [row for row in data if str(row[0]) not in seen]
      seen.update(str(row[0]) for row in data)
      write(config, view, fresh, progress)

    with mock.patch.object(
        self.feast.provider, 'online_write_batch', keep_older
    ):
      with self.assertRaisesRegex(errors.InputError, 'passes over rows'):
        self.materialize()

  def test_time_that_is_no_date(self):
    self.publish({'a': (7, [1, 2])}, cutoff=10**14, created=10**14)
    with self.assertRaisesRegex(errors.InputError, 'no date.*in seconds'):
      self.materialize()

  def test_no_online_store(self):
    path = pathlib.Path(self.folder, 'feature_store.yaml')
    settings, _, _ = path.read_text().partition('online_store:')
    path.write_text(f'{settings}online_store: null\n')
    self.feast = repo.open_repo(self.folder)
    with self.assertRaisesRegex(errors.InputError, 'has no online store; set'):
      self.materialize()

  def test_batches_of_none(self):
    with self.assertRaisesRegex(errors.InputError, '--batch_size=0: set 1'):
      self.materialize(batch_size=0)

  @parameterized.parameters(
      (None, 'feature_store.yaml: no such file; give'),
      ('project: [', 'feature_store.yaml: .*mend the file'),
      ('project: p', 'feature_store.yaml: .*mend the file'),
  )
  def test_no_repo(self, text, message):
    folder = self.create_tempdir().full_path
    if text is not None:
      pathlib.Path(folder, 'feature_store.yaml').write_text(text)
    with self.assertRaisesRegex(errors.InputError, message):
      repo.open_repo(folder)


@unittest.skipUnless(
    shutil.which('redis-server') and importlib.util.find_spec('redis'),
    'redis-server or its Python client is not installed',
)
class RedisTest(FeastTest):
  """The same on Feast's Redis, from which rows cannot be counted."""

  skip_dedup = 'true'

  def write_repo(self):
    with socket.socket() as free:
      free.bind(('127.0.0.1', 0))
      self.port = free.getsockname()[1]
    server = subprocess.Popen(
        ['redis-server', '--port', str(self.port), '--bind', '127.0.0.1',
         '--save', '', '--dir', self.folder],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    self.addCleanup(server.wait)
    self.addCleanup(server.kill)
    self._wait()
    write_repo(
        self.folder,
        ('type: redis', f'connection_string: "127.0.0.1:{self.port}"',
         f'skip_dedup: {self.skip_dedup}'),
    )  # fmt: skip

  def _wait(self):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
      with contextlib.suppress(OSError):
        socket.create_connection(('127.0.0.1', self.port)).close()
        return
      time.sleep(0.02)
    self.fail('redis-server did not start')

  def test_publish_rollback_and_gone(self):
    self.publish({'a': (7, [1, 2]), 'b': (8, [3, 4])})
    self.materialize()
    before = self.features('a', 'b', 'nobody')
    self.assertEqual(
        before,
        [([1, 2], 7, 'model', '00000001'), ([3, 4], 8, 'model', '00000001'),
         (None, 0, None, None)],
    )  # fmt: skip
    self.publish({'a': (9, [5, 6])})
    self.assert_counts(self.materialize(), written=1, cleared=1)
    self.assertEqual(
        [row[:2] for row in self.features('a', 'b')], [([5, 6], 9), (None, 200)]
    )
    snapshot.rollback(self.store, 'user')
    self.materialize()
    self.assertEqual(self.features('a', 'b', 'nobody'), before)


class RedisOfFeastTest(RedisTest):
  skip_dedup = 'false'

  def test_publish_rollback_and_gone(self):
    self.publish({'a': (7, [1, 2])})
    with self.assertRaisesRegex(errors.InputError, 'skip_dedup: true'):
      self.materialize()
    # Refused before, not after, all rows were written.
    self.assertEqual(self.features('a'), [(None, 0, None, None)])


class CommandTest(FeastTest):

  def run_command(self, *arguments, **environment):
    return subprocess.run(
        [sys.executable, '-m', 'experiments.feast_materialize', *arguments],
        cwd=_REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )

  def test_materializes(self):
    self.publish({'a': (7, [1, 2])})
    done = self.run_command(
        f'--store={self.store.address}',
        '--entity_type=user',
        f'--feast_repo={self.folder}',
    )
    self.assertEqual(done.returncode, 0, msg=done.stderr)
    self.assertEqual(
        done.stdout.splitlines()[-1],
        f'{self.folder}: user_meta_embedding holds snapshot 00000001: 1 rows'
        ' written, 0 unchanged, 0 cleared',
    )
    self.assertEqual(self.features('a')[0][0], [1, 2])

  def test_fails_in_one_line(self):
    done = self.run_command(
        f'--store={self.store.address}',
        '--entity_type=user',
        '--feast_repo=/nowhere',
    )
    self.assertEqual(done.returncode, 1)
    self.assertRegex(
        done.stderr, '^error: /nowhere/feature_store.yaml: no such file.*\n$'
    )


class WithoutFeastTest(absltest.TestCase):

  def test_extra_is_named(self):
    with mock.patch.object(importlib.util, 'find_spec', return_value=None):
      with mock.patch.dict(sys.modules):
        sys.modules.pop('limaml_jax.store.feast_store', None)
        with self.assertRaisesRegex(
            ModuleNotFoundError, r"pip install '.\[feast\]'"
        ):
          importlib.import_module('limaml_jax.store.feast_store')

  @unittest.skipUnless(_HAS_FEAST, _NO_FEAST)
  def test_imports_no_jax(self):
    code = (
        'from limaml_jax.store.feast_store import lookup, materialize, repo\n'
        'import sys; print("jax" in sys.modules, "jaxlib" in sys.modules)'
    )
    output = subprocess.check_output(
        [sys.executable, '-W', 'ignore', '-c', code],
        cwd=_REPOSITORY,
        text=True,
    )
    self.assertEqual(output, 'False False\n')


if __name__ == '__main__':
  absltest.main()
