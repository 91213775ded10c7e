import json
import os
import pathlib
import subprocess
import sys
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import lmdb
import numpy as np

from limaml_jax import errors
from limaml_jax.store import durable
from limaml_jax.store import lookup
from limaml_jax.store import record
from limaml_jax.store import snapshot
from limaml_jax.store.lmdb_store import backend
from limaml_jax.store.lmdb_store import directory
from tests.store import conformance
from tests.store import stamped


class LmdbTest(conformance.StoreTest):
  """Gives each test a store in a directory."""

  def make_store(self):
    self.root = self.create_tempdir().full_path
    self.path = pathlib.Path(self.root) / 'user'
    return backend.LmdbBackend(self.root)


class LmdbSnapshotTest(LmdbTest, conformance.SnapshotConformance):

  def test_records_are_watermark_then_vector(self):
    manifest = self.write()
    path = self.path / 'snapshots' / manifest.version
    with lmdb.open(str(path), readonly=True, lock=False) as database:
      with database.begin() as transaction:
        items = list(transaction.cursor())
    expected = [(b'a', conformance.RECORD_A), (b'b', conformance.RECORD_B)]
    self.assertEqual(items, expected)

  def test_lists_keys_of_what_is_published(self):
    self.publish(self.write().version)
    with lookup.Reader(self.store, 'user') as reader:
      self.assertEqual(reader.keys('', limit=9), ['a', 'b'])
      self.assertEqual(reader.keys('', limit=1), ['a'])
      self.assertEqual(reader.keys('b', limit=9), ['b'])
      self.assertEqual(reader.keys('c' * 600, limit=9), [])

  def test_a_key_in_each_full_page_splits_them_all(self):
    # Ascending keys fill their pages; the last chunk has one for each of them.
    ascending = [f'{i:05d}' for i in range(24000)]
    chunks = [ascending[i : i + 2048] for i in range(0, 24000, 2048)]
    chunks.append([f'{i:05d}x' for i in range(0, 24000, 20)])
    chunks = (
        record.Chunk(
            keys,
            np.ones((len(keys), 32), np.float32),
            np.zeros(len(keys), np.int64),
        )
        for keys in chunks
    )
    settings = {**conformance.SETTINGS, 'default_embedding': np.zeros(32)}
    manifest = snapshot.write(self.store, 'user', chunks, **settings)
    self.assertEqual(manifest.count, 24000 + 1200)
    snapshot.verify(self.store, 'user', manifest.version)

  def test_chunks_outgrow_the_first_map(self):
    # 4 MB in an order that splits pages; the map starts at 1 MiB.
    keys = [f'{i * 7919 % 10007:05d}' for i in range(10000)]
    chunks = (
        record.Chunk(
            keys[start : start + 1000],
            np.full((1000, 100), start, np.float32),
            np.zeros(1000, np.int64),
        )
        for start in range(0, 10000, 1000)
    )
    settings = {**conformance.SETTINGS, 'default_embedding': np.zeros(100)}
    manifest = snapshot.write(self.store, 'user', chunks, **settings)
    self.assertEqual(manifest.count, 10000)
    self.publish(manifest.version)
    with lookup.Reader(self.store, 'user') as reader:
      vectors = reader.lookup([keys[1], keys[9999]]).vectors
    np.testing.assert_array_equal(vectors[:, 99], [0.0, 9000.0])

  def test_versions_ascend_past_gaps(self):
    for expected in ('00000001', '00000002'):
      self.assertEqual(self.write().version, expected)
    (self.path / 'snapshots' / '00000002').rename(
        self.path / 'snapshots' / '00000009'
    )
    self.assertEqual(self.write().version, '00000010')
    self.assertEqual(
        self.store.versions('user'),
        ['00000001', '00000009', '00000010'],
    )

  def test_others_may_read_the_pointer(self):
    self.publish(self.write().version)
    umask = os.umask(0)
    os.umask(umask)
    mode = os.stat(self.path / 'CURRENT').st_mode & 0o777
    self.assertEqual(mode, 0o666 & ~umask)

  @parameterized.named_parameters(
      # Pages of 4096 bytes: two of meta data, then the only leaf, whose
      # records lie at its end.
      ('vector_changed', lambda data: data[:-1] + bytes([data[-1] ^ 1])),
      # LMDB's own walk over a blank page would end this process.
      ('page_blanked', lambda data: data[:8192] + bytes(4096) + data[12288:]),
      ('cut_short', lambda data: data[:8192]),
  )
  def test_torn_data_cannot_be_published(self, tear):
    self.publish(self.write().version)
    version = self.write().version
    path = self.path / 'snapshots' / version / 'data.mdb'
    path.write_bytes(tear(path.read_bytes()))
    with self.assertRaisesRegex(errors.InputError, f'{path}: .*data_checksum'):
      self.publish(version)
    self.assertEqual(self.store.current('user'), '00000001')

  def test_verify_reads_the_records_too(self):
    version = self.write().version
    path = self.path / 'snapshots' / version / 'manifest.json'
    fields = json.loads(path.read_text()) | {'checksum': 'a' * 64}
    path.write_text(json.dumps(fields))
    with self.assertRaisesRegex(errors.InputError, 'its checksum'):
      snapshot.verify(self.store, 'user', version)

  @parameterized.parameters('', '.', '../user', 'a/b', '.hidden')
  def test_entity_type_that_is_no_folder(self, entity_type):
    with self.assertRaisesRegex(errors.InputError, '^entity type .*use'):
      self.store.versions(entity_type)

  def test_store_imports_no_jax(self):
    modules = 'address, lookup, snapshot'
    code = (
        f'from limaml_jax.store import {modules}; import sys; '
        'print("jax" in sys.modules, "jaxlib" in sys.modules)'
    )
    output = subprocess.check_output(
        [sys.executable, '-c', code],
        cwd=pathlib.Path(__file__).parents[2],
        text=True,
    )
    self.assertEqual(output, 'False False\n')


  def assert_nothing_left(self):
    self.assertEmpty(list((self.path / 'snapshots').glob('*')))

  def interrupt(self, step, run):
    """Runs something that dies at a step in the folder of the store."""
    with mock.patch.object(durable, step, side_effect=KeyboardInterrupt):
      with self.assertRaises(KeyboardInterrupt):
        run()

  def test_first_publication_dies_before_the_pointer_moves(self):
    version = self.write().version
    self.interrupt('swap_pointer', lambda: self.publish(version))
    self.assertEqual(self.store.published('user'), [])
    self.publish(version)
    self.assertEqual(self.store.published('user'), [version])

  def test_publication_dies_after_the_pointer_moved(self):
    version = self.write().version
    real = durable.write_text

    def write_text(path, text):
      if path.name == directory.MARK:
        raise KeyboardInterrupt
      real(path, text)

    with mock.patch.object(durable, 'write_text', write_text):
      with self.assertRaises(KeyboardInterrupt):
        self.publish(version)
    self.assertEqual(self.store.published('user'), [version])

  def test_rollback_dies_before_the_pointer_moves(self):
    for _ in range(3):
      self.publish(self.write().version)
    roll_back = lambda: snapshot.rollback(self.store, 'user')
    self.interrupt('swap_pointer', roll_back)
    self.assertEqual(self.store.current('user'), '00000003')
    self.assertEqual(roll_back(), '00000002')
    self.assertEqual(self.store.published('user'), ['00000001', '00000002'])

  def test_readers_keep_what_is_deleted_under_them(self):
    for _ in range(2):
      self.write()
    self.publish('00000001')
    with self.store.open_snapshot('user', '00000001') as opened:
      self.publish('00000002')
      snapshot.prune(self.store, 'user', keep=1)
      ((keys, _),) = opened.scan()
    self.assertLen(keys, 2)
    self.assertEqual(
        [path.name for path in (self.path / 'snapshots').iterdir()],
        ['00000002'],
    )


class LmdbLookupTest(LmdbTest, conformance.LookupConformance):

  def test_every_publish_within_one_tick_of_the_clock_is_seen(self):
    for _ in range(2):
      stamped.write(self.store)
    versions = self.store.versions('user')
    snapshot.publish(self.store, 'user', versions[0])
    os.utime(self.path / 'CURRENT', ns=(0, 0))
    reader = self.reader()
    for i in range(1, 9):
      # Two in a row, so that the first one's inode is free for the second.
      for version in (versions[0], versions[i % 2]):
        snapshot.publish(self.store, 'user', version)
        os.utime(self.path / 'CURRENT', ns=(0, 0))
      self.assertEqual(reader.lookup(['x']).version, versions[i % 2])

  def test_last_reader_closes_the_snapshot(self):
    self.publish()
    for _ in range(2):
      with self.reader() as first, self.reader():
        first.lookup(['old'])
    path = self.path / 'snapshots' / '00000001'
    # LMDB would refuse if this process still had it open.
    lmdb.open(str(path), readonly=True, lock=False).close()

  def test_reader_lets_go_of_the_former_snapshot(self):
    self.publish()
    reader = self.reader()
    self.publish()
    reader.lookup(['old'])
    path = self.path / 'snapshots' / '00000001'
    lmdb.open(str(path), readonly=True, lock=False).close()


class BrokenStoreTest(LmdbTest):

  def test_nothing_published(self):
    for _ in range(2):
      with self.assertRaisesRegex(
          errors.InputError, 'CURRENT: no snapshot.*experiments.refresh'
      ):
        lookup.Reader(self.store, 'user')
      stamped.write(self.store)

  @parameterized.parameters('', '0000000', 'ab', '../../etc', '\0' * 8)
  def test_torn_pointer(self, text):
    stamped.write(self.store)
    (self.path / 'CURRENT').write_text(text)
    with self.assertRaisesRegex(errors.InputError, 'CURRENT: holds'):
      lookup.Reader(self.store, 'user')

  @parameterized.named_parameters(
      ('empty', 'data.mdb', lambda data: b''),
      ('noise', 'data.mdb', lambda data: bytes(range(256)) * 64),
      ('only_meta_pages', 'data.mdb', lambda data: data[:8192]),
      ('half', 'data.mdb', lambda data: data[: len(data) // 2]),
      ('last_byte_gone', 'data.mdb', lambda data: data[:-1]),
      ('half_manifest', 'manifest.json', lambda data: data[:100]),
      ('binary_manifest', 'manifest.json', lambda data: b'\xff\xfe'),
      (
          'other_count',
          'manifest.json',
          lambda data: data.replace(b'"count": 500', b'"count": 499'),
      ),
  )
  def test_torn_file_at_opening(self, name, tear):
    self._publish_torn(name, tear)
    with self.assertRaisesRegex(
        errors.InputError, f'{self.path}/snapshots/00000001/.*roll back'
    ):
      lookup.Reader(self.store, 'user')

  @parameterized.parameters('data.mdb', 'manifest.json')
  def test_absent_file(self, name):
    self._publish_torn(name, lambda data: data)
    (self.path / 'snapshots' / '00000001' / name).unlink()
    with self.assertRaisesRegex(errors.InputError, f'00000001/{name}: '):
      lookup.Reader(self.store, 'user')

  def test_blank_page_at_lookup(self):
    # All pages behind the two of meta data.
    self._publish_torn(
        'data.mdb', lambda data: data[:8192] + bytes(len(data) - 8192)
    )
    with lookup.Reader(self.store, 'user') as reader:
      with self.assertRaisesRegex(errors.InputError, 'data.mdb: corrupt'):
        reader.lookup(stamped.KEYS)

  def test_wrong_dimension_at_lookup(self):
    self._publish_torn(
        'manifest.json', lambda data: data.replace(b'float32', b'float16')
    )
    with lookup.Reader(self.store, 'user') as reader:
      with self.assertRaisesRegex(errors.InputError, 'wrong size'):
        reader.lookup(stamped.KEYS)

  def test_reader_outlives_a_torn_publication(self):
    for _ in range(2):
      version = stamped.write(self.store).version
      snapshot.publish(self.store, 'user', version)
    snapshot.rollback(self.store, 'user')
    with lookup.Reader(self.store, 'user') as reader:
      (self.path / 'snapshots' / version / 'manifest.json').write_text('{')
      (self.path / 'CURRENT').write_text(version)
      for _ in range(2):
        with self.assertRaisesRegex(errors.InputError, 'not JSON'):
          reader.lookup(stamped.KEYS)
      snapshot.rollback(self.store, 'user')
      self.assertEqual(reader.lookup(stamped.KEYS).version, '00000001')

  def _publish_torn(self, name, tear):
    stamped.write(self.store)
    snapshot.publish(self.store, 'user', '00000001')
    path = self.path / 'snapshots' / '00000001' / name
    path.write_bytes(tear(path.read_bytes()))


if __name__ == '__main__':
  absltest.main()
