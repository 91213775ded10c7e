import hashlib
import json
import os
import pathlib
import struct
import subprocess
import sys

from absl.testing import absltest
from absl.testing import parameterized
import lmdb
import numpy as np

from limaml_jax import errors
from limaml_jax.store import lookup
from limaml_jax.store import record
from limaml_jax.store import snapshot
from limaml_jax.store import verification

# Two entities of dimension 2, which have seen events until 7 and 9.
ARRAYS = {
    'keys': ['b', 'a'],
    'vectors': np.array([[3.0, 4.0], [1.0, -2.0]]),
    'watermarks': np.array([9, 7]),
}
SETTINGS = {
    'default_embedding': np.array([0.5, 0.25]),
    'fingerprint': 'model',
    'cutoff': 10,
    'created': 20,
}
# Record: watermark, then vector.
RECORD_A = struct.pack('<q2f', 7, 1.0, -2.0)
RECORD_B = struct.pack('<q2f', 9, 3.0, 4.0)


class SnapshotTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.root = self.create_tempdir().full_path
    self.path = pathlib.Path(self.root) / 'user'

  def write(self, **changes):
    arguments = {**ARRAYS, **SETTINGS, **changes}
    return snapshot.write(self.root, 'user', **arguments)

  def publish(self, version):
    return snapshot.publish(self.root, 'user', version)

  def current(self):
    return (self.path / 'CURRENT').read_text()

  def test_records_are_watermark_then_vector(self):
    manifest = self.write()
    path = self.path / 'snapshots' / manifest.version
    with lmdb.open(str(path), readonly=True, lock=False) as database:
      with database.begin() as transaction:
        items = list(transaction.cursor())
    self.assertEqual(items, [(b'a', RECORD_A), (b'b', RECORD_B)])

  def test_manifest_describes_the_data(self):
    manifest = self.write()
    self.assertEqual(manifest.version, '00000001')
    self.assertEqual(manifest.count, 2)
    self.assertEqual(manifest.dimension, 2)
    self.assertEqual(manifest.watermark, 9)
    self.assertEqual(manifest.default_embedding, (0.5, 0.25))
    content = b'\1\0a' + RECORD_A + b'\1\0b' + RECORD_B
    self.assertEqual(manifest.checksum, hashlib.sha256(content).hexdigest())

  @parameterized.parameters(([0, 1, 2, 3, 4],), ([4, 2, 0, 3, 1],))
  def test_chunks_in_any_order_make_the_same_snapshot(self, order):
    keys = ['a', 'b', 'c', 'd', 'e']
    vectors = np.arange(10.0).reshape(5, 2)
    watermarks = np.arange(5)
    whole = self.write(keys=keys, vectors=vectors, watermarks=watermarks)
    chunks = (
        record.Chunk([keys[i]], vectors[[i]], watermarks[[i]]) for i in order
    )
    pieces = snapshot.write_chunks(self.root, 'user', chunks, **SETTINGS)
    self.assertEqual(pieces.checksum, whole.checksum)
    self.assertEqual(pieces.watermark, 4)

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
    settings = {**SETTINGS, 'default_embedding': np.zeros(100)}
    manifest = snapshot.write_chunks(self.root, 'user', chunks, **settings)
    self.assertEqual(manifest.count, 10000)
    self.publish(manifest.version)
    with lookup.Reader(self.root, 'user') as reader:
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
        snapshot.versions(self.root, 'user'),
        ['00000001', '00000009', '00000010'],
    )

  def test_no_versions_of_an_unknown_entity_type(self):
    self.assertEqual(snapshot.versions(self.root, 'item'), [])

  @parameterized.named_parameters(
      ('few_vectors', {'vectors': np.zeros((1, 2))}, r'vectors: .*\[2, 2\]'),
      ('narrow', {'vectors': np.zeros((2, 1))}, r'vectors: .*\[2, 2\]'),
      ('flat', {'vectors': np.zeros(4)}, r'vectors: .*\[2, 2\]'),
      ('text', {'vectors': np.full((2, 2), 'x')}, 'vectors: .*pass numbers'),
      ('few_watermarks', {'watermarks': np.zeros(1, int)}, r'marks: .*\[2\]'),
      ('floats', {'watermarks': np.zeros(2)}, 'watermarks: .*pass integers'),
      ('nan', {'vectors': np.array([[np.nan, 0], [0, 0]])}, "entity 'b'.*fin"),
      ('infinite', {'vectors': np.array([[0, 0], [0, np.inf]])}, "entity 'a'"),
      # The largest float16 is 65504.
      (
          'beyond_float16',
          {'vectors': np.array([[7e4, 0], [0, 0]]), 'dtype': 'float16'},
          "entity 'b'.*float16",
      ),
      ('duplicate', {'keys': ['a', 'a']}, "entity 'a': comes twice"),
      ('no_key', {'keys': ['a', '']}, "entity '': its key has 0 bytes"),
      # 256 letters of 2 bytes: one byte too many.
      ('long_key', {'keys': ['a', 'é' * 256]}, "entity 'éé.*has 512 bytes"),
      ('integer_key', {'keys': ['a', 1]}, 'entity 1: not a text'),
      ('surrogate', {'keys': ['a', '\ud800']}, 'not a text that UTF-8'),
      ('later', {'watermarks': np.array([9, 11])}, "entity 'a'.*11.*cutoff 10"),
      ('negative', {'watermarks': np.array([-2, 0])}, "entity 'b'.*-2"),
      ('default_nan', {'default_embedding': [np.nan, 0]}, 'default_embedding'),
      ('default_2d', {'default_embedding': [[0, 0]]}, 'default_embedding'),
      ('dtype', {'dtype': 'int8'}, "'dtype'.*'int8'.*float32 or float16"),
      ('fingerprint', {'fingerprint': ''}, "'fingerprint'"),
      ('cutoff', {'cutoff': 1.5}, "'cutoff'"),
  )
  def test_wrong_argument_leaves_nothing_behind(self, changes, message):
    with self.assertRaisesRegex(errors.InputError, message):
      self.write(**changes)
    snapshots = self.path / 'snapshots'
    self.assertEqual(list(snapshots.glob('*')), [])

  def test_duplicate_across_chunks_is_named(self):
    chunks = [
        record.Chunk([key], np.zeros((1, 2)), np.zeros(1, np.int64))
        for key in ('b', 'c', 'b')
    ]
    with self.assertRaisesRegex(errors.InputError, "entity 'b': comes twice"):
      snapshot.write_chunks(self.root, 'user', chunks, **SETTINGS)

  def test_longest_key(self):
    manifest = self.write(keys=['a', 'é' * 255 + 'x'])  # 511 bytes.
    self.assertEqual(manifest.count, 2)

  @parameterized.parameters('', '.', '../user', 'a/b', '.hidden')
  def test_entity_type_that_is_no_folder(self, entity_type):
    with self.assertRaisesRegex(errors.InputError, '^entity type .*use'):
      snapshot.versions(self.root, entity_type)

  def test_publish_of_an_absent_version(self):
    self.publish(self.write().version)
    for version in ('00000002', '', '../snapshots/00000001'):
      with self.assertRaisesRegex(errors.InputError, 'no version'):
        self.publish(version)
    self.assertEqual(self.current(), '00000001\n')

  def test_others_may_read_the_pointer(self):
    self.publish(self.write().version)
    umask = os.umask(0)
    os.umask(umask)
    mode = os.stat(self.path / 'CURRENT').st_mode & 0o777
    self.assertEqual(mode, 0o666 & ~umask)

  def test_rollback_skips_what_was_never_published(self):
    self.publish(self.write().version)
    self.write()
    self.publish(self.write().version)
    self.assertEqual(snapshot.rollback(self.root, 'user'), '00000001')
    self.assertEqual(self.current(), '00000001\n')

  def test_rollback_never_returns_to_what_was_rolled_back(self):
    self.publish(self.write().version)
    self.publish(self.write().version)
    snapshot.rollback(self.root, 'user')
    self.publish(self.write().version)
    self.assertEqual(snapshot.rollback(self.root, 'user'), '00000001')

  def test_rollback_goes_back_one_at_a_time(self):
    for _ in range(3):
      self.publish(self.write().version)
    self.assertEqual(snapshot.rollback(self.root, 'user'), '00000002')
    self.assertEqual(snapshot.rollback(self.root, 'user'), '00000001')

  def test_rollback_with_nothing_before(self):
    self.publish(self.write().version)
    with self.assertRaisesRegex(errors.InputError, 'before version 00000001'):
      snapshot.rollback(self.root, 'user')
    self.assertEqual(self.current(), '00000001\n')

  def test_verify_accepts_what_was_written(self):
    manifest = self.write()
    with lookup_of(self, manifest.version):
      self.assertEqual(
          verification.verify(self.root, 'user', manifest.version), manifest
      )

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
    self.assertEqual(self.current(), '00000001\n')

  def test_verify_reads_the_records_too(self):
    version = self.write().version
    path = self.path / 'snapshots' / version / 'manifest.json'
    fields = json.loads(path.read_text()) | {'checksum': 'a' * 64}
    path.write_text(json.dumps(fields))
    with self.assertRaisesRegex(errors.InputError, 'its checksum'):
      verification.verify(self.root, 'user', version)

  def test_store_imports_no_jax(self):
    modules = 'lookup, manifest, snapshot, verification'
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


def lookup_of(test, version):
  """Opens a reader, so that the snapshot is open in this process."""
  test.publish(version)
  return lookup.Reader(test.root, 'user')


if __name__ == '__main__':
  absltest.main()
